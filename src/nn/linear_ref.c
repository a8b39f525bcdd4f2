/* linear_ref.c: the product by its definition. */
#include "nn/linear.h"

void linear_ref(const linear_product *p) {
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            float *c = &p->c[i * p->c_stride + j];
            double sum = p->add ? *c : 0;
            for (int64_t l = 0; l < p->k; l++) {
                double a = p->a_transposed ? p->a[l * p->a_stride + i] : p->a[i * p->a_stride + l];
                double b = p->b_transposed ? p->b[j * p->b_stride + l] : p->b[l * p->b_stride + j];
                sum += a * b;
            }
            *c = (float)sum;
        }
}
