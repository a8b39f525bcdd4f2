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
 *   KV-outer     per group, the blocks with the queries that chose them (a CSR, built per chunk of
 *                queries), cut into bounded work items; partial O and LSE per (query, slot of its
 *                sorted list); merged in slot order. A block is read about once per chunk.
 * The plan takes query-outer unless told otherwise: the heads of a group share a block already, and
 * that is all the reuse a CPU's caches ask for (docs/performance.md has the figures). */
#ifndef MSA_ATTN_SPARSE_H
#define MSA_ATTN_SPARSE_H

#include "attn/attend.h"

#define SPARSE_PARTIAL_BYTES                                                                       \
    ((size_t)64 << 20) /* of a KV-outer chunk: O(chunk * k), not O(T * k) */

/* KV-outer: shared workspace of a plan, and the run. */
size_t sparse_kv_shared_bytes(const msa_plan *plan);
void sparse_kv_run(const attend_run *run);

#endif
