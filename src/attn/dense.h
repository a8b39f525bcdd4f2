/* dense.h: card of dense.
 *
 *   O[t,h]   = sum over j <= pos(t) of softmax_j(scale q[t,h].k[g(h),j]) v[g(h),j]
 *   LSE[t,h] = ln sum over j <= pos(t) of exp(scale q.k)
 *   max_score[h,b,t] = scale * max over j in block b, j <= pos(t), of q.k;  -inf where none
 *
 * q [total_q, Hq, d] f32; k, v any stored format and layout; f32 accumulation, online softmax by
 * blocks of B keys. With out and lse NULL the probabilities are never computed (the proxy pass).
 * NaN among visible inputs gives NaN (and does not win a max_score); invisible tokens are never
 * read into a result. q_len = 0 writes nothing. out must not alias q, k or v.
 * Error against the double reference: at most twice that of the plain f32 computation.
 * The kernel is attend_simd.c, the reference attend_ref.c. */
#ifndef MSA_ATTN_DENSE_H
#define MSA_ATTN_DENSE_H

/* Blocks of keys a piece of a request holds at least, when few queries make it worth cutting. */
#define DENSE_SPLIT_BLOCKS 16
#define DENSE_MOST_SPLITS  64

#endif
