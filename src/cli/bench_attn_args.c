/* bench_attn_args.c: see bench_attn_args.h. */
#include "cli/bench_attn_args.h"

#include <stdio.h>

#include "cli/bench_train.h"
#include "cli/commands.h"
#include "cli/settings.h"

#define AT(field) offsetof(bench_attn_args, field)

static const option SHAPE_OPTIONS[] = {
    {"--heads", 0, OPTION_TEXT, AT(heads), "Q/KV", 0, 0, NULL,
     "query and key/value heads (default: 64/4)", NULL},
    {"--dim", 0, OPTION_INT, AT(dim), "N", 8, 256, NULL, "width of a head (default: 128)",
     "multiples of 8"},
    {"--index-dim", 0, OPTION_INT, AT(index_dim), "N", 8, 256, NULL,
     "width of an index key (default: 128)", "multiples of 8"},
    {"--block", 0, OPTION_INT, AT(block), "N", 16, 256, NULL, "tokens in a block (default: 128)",
     "powers of two"},
    {"--topk", 0, OPTION_INT, AT(topk), "N", 1, 64, NULL, "blocks a query reads (default: 16)",
     NULL},
    {"--local", 0, OPTION_INT, AT(local), "N", 0, 64, NULL,
     "of them forced: last ones (default: 1)", NULL},
    {"--init", 0, OPTION_INT, AT(init), "N", 0, 64, NULL, "of them forced: first ones (default: 0)",
     NULL},
    {"--format", 0, OPTION_CHOICE, AT(format), "F", 0, 0, FORMATS,
     "stored keys and values (default: bf16)", NULL},
    {"--index-format", 0, OPTION_CHOICE, AT(index_format), "F", 0, 0, FORMATS,
     "stored index keys (default: bf16)", NULL},
};

static const option WORK_OPTIONS[] = {
    {"--n", 'n', OPTION_INTS, AT(n), "LIST", 1, 1 << 30, NULL,
     "context lengths (default: 32K,128K,512K,1M; train: 32K,128K)", "give lengths like 32K,1M"},
    {"--chunk", 0, OPTION_INT, AT(chunk), "N", 0, 1 << 20, NULL,
     "queries of a prefill chunk, the last of the context\n"
     "(default: 64; 0: the whole context, or the suite's whole chunk;\n"
     "train: default 4096, in the middle of the context)",
     NULL},
    {"--decode-queries", 0, OPTION_INT, AT(decode_queries), "N", 1, 16, NULL,
     "queries of a decode step (default: 1)", NULL},
    {"--ops", 0, OPTION_CHOICE, AT(ops), "OPS", 0, 0, "all|prefill|decode|select",
     "what to measure (default: all)", NULL},
    {"--suite", 0, OPTION_CHOICE, AT(suite), "SUITE", 0, 0, "grid|prefill|decode|train",
     "the lengths of --n (default), shapes of production traffic, or\n"
     "forward and backward at the lengths of --n",
     NULL},
    {"--order", 0, OPTION_CHOICE, AT(order), "ORDER", 0, 0, "auto|query|kv",
     "of the sparse prefill (default: auto)", NULL},
    {"--pages", 0, OPTION_CHOICE, AT(pages), "P", 0, 0, "scattered|in-order",
     "where the pages of a text lie\n"
     "(default: scattered)",
     NULL},
    {"--repeats", 'r', OPTION_INT, AT(repeats), "N", 1, 1000, NULL, "rounds (default: 5)", NULL},
    {"--budget", 0, OPTION_REAL, AT(budget), "S", 0, 1e6, NULL,
     "seconds an operator may take at a length before it stops\n"
     "after its third round (default: 15)",
     NULL},
    {"--clock", 0, OPTION_CHOICE, AT(clock), "CLOCK", 0, 0, "wall|cpu",
     "cpu: the CPU time of the threads instead of time gone by, for\n"
     "a machine that is busy with other things; with -t 1",
     NULL},
    {"--index8", 0, OPTION_SWITCH, AT(index8), NULL, 0, 0, NULL,
     "time the index through an int8 copy of its keys too, which\n"
     "chooses the same blocks",
     NULL},
    {"--memory", 0, OPTION_SWITCH, AT(memory), NULL, 0, 0, NULL,
     "print what prefills of growing size allocate, and measure nothing", NULL},
    {"--json", 0, OPTION_SWITCH, AT(json), NULL, 0, 0, NULL, "print JSON", NULL},
};

static const help_page PAGE = {
    .usage = "msa bench attn [--n LIST] [--ops OPS] [FLAGS]",
    .about =
        "Times the operators of one layer on invented data: a chunk of queries at depth (prefill) "
        "and\n"
        "a step of decoding, MSA and dense attention interleaved in one run. Without flags: a "
        "layer of\n"
        "MiniMax-M3 at 32K, 128K, 512K and 1M tokens of context, in under five minutes on two "
        "cores.\n"
        "\n"
        "  op        prefill, decode: all of it; -index: scoring and selecting; -sparse: attention "
        "over\n"
        "            what was selected; select: top-k of stored scores, n/block of them a row;\n"
        "            -index8: scoring and selecting through the int8 copy (--index8)\n"
        "  time      median of the repetitions, each with other data\n"
        "  roofline  the least time this machine could take, by its measured ceilings, as a share\n"
        "            of the time it took, and what binds: arithmetic or memory\n"
        "  speedup   dense time over MSA time\n"
        "  rescored  share of the tokens whose score the int8 copy could not spare; bytes, read: "
        "of\n"
        "            copy and keys together\n",
    .examples = "msa bench attn --n 16K\n"
                "msa bench attn --n 8K,16K --ops decode --index-format f32 --json\n"
                "msa bench attn --suite train --n 4K --chunk 512 -r 3\n"
                "msa bench attn --memory",
};

static msa_status read_shape(const bench_attn_args *args, msa_shape *shape, msa_error *err) {
    int q, kv, end = 0;
    if (sscanf(args->heads, "%d/%d%n", &q, &kv, &end) != 2 || args->heads[end])
        return fail(err, MSA_E_ARG,
                    "--heads: expected query and key/value heads like 64/4, found "
                    "'%s'",
                    args->heads);
    *shape = (msa_shape){.n_q_heads = q,
                         .n_kv_heads = kv,
                         .head_dim = (int32_t)args->dim,
                         .n_index_heads = kv,
                         .n_index_keys = 1,
                         .index_dim = (int32_t)args->index_dim,
                         .block = (int32_t)args->block,
                         .topk = (int32_t)args->topk,
                         .local = (int32_t)args->local,
                         .init = (int32_t)args->init};
    return msa_shape_check(shape, err);
}

/* Flags that somebody gave and this suite does not read. */
static msa_status refuse_unread(const bench_attn_args *args, msa_error *err) {
    enum {
        GRID = 1 << SUITE_GRID,
        PREFILL = 1 << SUITE_PREFILL,
        DECODE = 1 << SUITE_DECODE,
        TRAIN = 1 << SUITE_TRAIN
    };
    static const char *const WHY[] = {
        [SUITE_PREFILL] = "--suite prefill has its own lengths and requests",
        [SUITE_DECODE] = "--suite decode has its own lengths and requests",
        [SUITE_TRAIN] = "--suite train times forward and backward over f32 keys without pages",
        [SUITE_MEMORY] = "--memory measures nothing",
    };
    const struct {
        const char *name;
        bool given;
        int read_by;
    } FLAGS[] = {
        {"--n", args->n.n >= 0, GRID | TRAIN},
        {"--chunk", args->chunk >= 0, GRID | PREFILL | TRAIN},
        {"--decode-queries", args->decode_queries >= 0, GRID},
        {"--ops", args->ops >= 0, GRID},
        {"--order", args->order >= 0, GRID | PREFILL},
        {"--pages", args->pages >= 0, GRID | PREFILL | DECODE},
        {"--format", args->format >= 0, GRID | PREFILL | DECODE},
        {"--index-format", args->index_format >= 0, GRID | PREFILL | DECODE},
        {"--index8", args->index8, GRID | PREFILL | DECODE},
    };
    int suite = args->memory ? SUITE_MEMORY : args->suite;
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        if (FLAGS[i].given && !(FLAGS[i].read_by >> suite & 1))
            return fail(err, MSA_E_ARG, "%s is not read here: %s; expected no %s%s", FLAGS[i].name,
                        WHY[suite], FLAGS[i].name,
                        suite == SUITE_MEMORY ? "" : ", or --suite grid");
    return MSA_OK;
}

/* What nobody gave; lengths and queries differ from suite to suite. */
static void set_defaults(bench_attn_args *args) {
    bool train = args->suite == SUITE_TRAIN;
    if (args->decode_queries < 0) args->decode_queries = 1;
    if (args->ops < 0) args->ops = OPS_ALL;
    if (args->order < 0) args->order = MSA_ORDER_AUTO;
    if (args->pages < 0) args->pages = PAGES_SCATTERED;
    if (args->format < 0) args->format = MSA_BF16;
    if (args->index_format < 0) args->index_format = MSA_BF16;
    if (args->chunk < 0) args->chunk = train ? BENCH_TRAIN_QUERIES : 64;
    if (args->n.n < 0) args->n = (option_ints){{32768, 131072, 524288, 1048576}, train ? 2 : 4};
}

msa_status bench_attn_parse(bench_attn_args *args, msa_shape *shape, int argc, char **argv,
                            bool *done, msa_error *err) {
    *args = (bench_attn_args){.heads = "64/4",
                              .dim = 128,
                              .index_dim = 128,
                              .block = 128,
                              .topk = 16,
                              .local = 1,
                              .n = {.n = -1},
                              .chunk = -1,
                              .decode_queries = -1,
                              .ops = -1,
                              .order = -1,
                              .pages = -1,
                              .format = -1,
                              .index_format = -1,
                              .repeats = 5,
                              .budget = 15};
    option_group groups[] = {
        {"Shape", SHAPE_OPTIONS, sizeof SHAPE_OPTIONS / sizeof *SHAPE_OPTIONS, args},
        {"Work", WORK_OPTIONS, sizeof WORK_OPTIONS / sizeof *WORK_OPTIONS, args},
    };
    msa_status status = options_parse(&PAGE, groups, 2, argc, argv, done, err);
    if (status != MSA_OK || *done) return status;
    status = refuse_unread(args, err);
    if (status != MSA_OK) return status;
    set_defaults(args);
    if (args->n.n == 0) return fail(err, MSA_E_ARG, "--n: expected at least one context length");
    return read_shape(args, shape, err);
}
