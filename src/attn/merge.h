/* merge.h: card of merge. (O, LSE) + (O', LSE') over disjoint keys:
 *   LSE'' = ln(e^LSE + e^LSE'),  O'' = e^(LSE - LSE'') O + e^(LSE' - LSE'') O'
 * f32; LSE natural. A side with LSE = -inf does not count, whatever its O holds; two such sides
 * give 0 and -inf. NaN in a side that counts, or in an LSE, gives NaN. Error: within 4 ULP of the
 * double result for the weights and sum. */
#ifndef MSA_ATTN_MERGE_H
#define MSA_ATTN_MERGE_H

/* The truth for one row of n_parts parts, merged at once. */
void merge_ref(int n_parts, int dim, const float *o, long o_stride, const float *lse,
               long lse_stride, double *out, double *out_lse);

#endif
