/* sparse.h: card of sparse.
 *
 *   O[t,h]   = sum over visible j of softmax_j(scale q[t,h].k[g(h),j]) v[g(h),j]
 *   LSE[t,h] = ln sum over visible j of exp(scale q.k)
 *   visible: j <= pos(t) in the blocks of the list of (t, g(h))
 *
 * q [total_q, Hq, d] f32; k, v any stored format and layout; lists in any order and layout, -1 in
 * unused slots; f32 accumulation. An empty list gives O = 0, LSE = -inf. NaN among visible inputs
 * gives NaN; other tokens are never read into a result. out must not alias q, k or v.
 * Error against the double reference: at most twice that of the plain f32 computation.
 *
 * Two orders, the same answer up to rounding:
 *   query-outer  a tile of neighbouring queries walks the union of their lists; each block meets
 *                just the queries that chose it. No partial results.
 *   KV-outer     per group, the blocks with the queries that chose them (walk.h): each part of the
 *                blocks keeps an online softmax of its own for the queries of a chunk; merged in
 *                the order of parts. A block is read, and widened or packed, once per chunk.
 * Unless told otherwise the plan takes query-outer for paged keys: the heads of a group share a
 * block already, and that is all the reuse a CPU's caches ask for (docs/performance.md has the
 * figures). Contiguous keys are packed as they are read, which costs as much as 16 rows' products
 * do: with many queries KV-outer is then faster by half. */
#ifndef MSA_ATTN_SPARSE_H
#define MSA_ATTN_SPARSE_H

#include "attn/attend.h"

/* Queries from which on contiguous keys are walked KV-outer. */
#define SPARSE_KV_QUERIES 256

/* KV-outer: the rest of planning, and the run. */
msa_status sparse_kv_plan(msa_plan *plan, msa_error *err);
void sparse_kv_run(const attend_run *run);

#endif
