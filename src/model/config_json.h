/* config_json.h: the config.json beside safetensors files, read as an architecture and written from
 * one.
 *
 * Read are model_type llama, qwen2, qwen3, minimax_m3_vl_text, and minimax_m3_vl, whose text model
 * is in "text_config". For M3 both spellings of the sparse keys are known, and where a file has
 * both they must agree:
 *
 *     flat                                    published
 *     index_n_heads                           sparse_attention_config.sparse_num_index_heads
 *     index_head_dim                          .sparse_index_dim
 *     index_block_size, index_topk_blocks     .sparse_block_size, .sparse_topk_blocks
 *     index_local_blocks                      .sparse_local_block
 *     -                                       .sparse_init_block
 *     layer_types                             .sparse_attention_freq
 *     mlp_layer_types                         moe_layer_freq
 *
 * A Llama family with an index branch has the object "msa" besides: index_n_heads, index_head_dim,
 * index_block_size, index_topk_blocks, index_local_blocks, index_init_blocks, num_dense_layers. */
#ifndef MSA_MODEL_CONFIG_JSON_H
#define MSA_MODEL_CONFIG_JSON_H

#include <jansson.h>

#include "model/arch.h"

/* MSA_E_FORMAT names the key that is missing, misplaced, or contradicts another, its value and what
 * was expected; MSA_E_UNSUPPORTED what this version can't run. *a is complete where it is MSA_OK.
 * An M3 whose sparse keys are missing is refused: nothing becomes dense in silence. */
msa_status config_json_parse(arch *a, const json_t *root, msa_error *err);
/* The same from a file; messages name it. */
msa_status config_json_read(arch *a, const char *path, msa_error *err);

/* Token ids and format that go into the file; ids -1: none. */
typedef struct config_json_facts {
    const char *dtype; /* "float32", "float16", "bfloat16" */
    int32_t bos, eos, pad;
} config_json_facts;

/* The file's content, freed with json_decref; NULL where there is no memory. M3 in both spellings,
 * since tools differ in which they read. */
json_t *config_json_create(const arch *a, const config_json_facts *facts);

#endif
