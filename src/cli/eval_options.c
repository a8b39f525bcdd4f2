/* eval_options.c: the flags of examinations, see eval_exam.h. */
#include "cli/eval_exam.h"

#define COUNT(table) (sizeof table / sizeof *table)

static const option COMMON[] = {
    {.name = "--lengths",
     .kind = OPTION_INTS,
     .offset = offsetof(exam_args, lengths),
     .argument = "LIST",
     .min = 64,
     .max = 1 << 28,
     .help = "tokens of a prompt and its answer: 2048,4096 or 2K,4K (default: 2048)",
     .remedy = "2048 is the default"},
    {.name = "--samples",
     .letter = 'n',
     .kind = OPTION_INT,
     .offset = offsetof(exam_args, samples),
     .argument = "N",
     .min = 1,
     .max = 1000000,
     .help = "of each task and length (default: 20)",
     .remedy = "20 is the default"},
    {.name = "--selectors",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, selectors),
     .argument = "LIST",
     .help = "dense,index,proxy,means,shared,window,random,oracle; dense is always\n"
             "asked too (default: dense and the model's own)"},
    {.name = "--seed",
     .letter = 's',
     .kind = OPTION_INT,
     .offset = offsetof(exam_args, seed),
     .argument = "N",
     .min = 0,
     .max = 9e15,
     .help = "of the samples (default: 42)",
     .remedy = "42 is the default"},
    {.name = "--out",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, out),
     .argument = "FILE",
     .help = "keep each answer here, a line of JSON; what is there is not asked again"},
    {.name = "--void-below",
     .kind = OPTION_REAL,
     .offset = offsetof(exam_args, void_below),
     .argument = "SCORE",
     .min = 0,
     .max = 100,
     .help = "no difference where dense itself scores less (default: 50)",
     .remedy = "50 is the default"},
    {.name = "--raw",
     .kind = OPTION_SWITCH,
     .offset = offsetof(exam_args, raw),
     .help = "no chat template, even where the model has one"},
    {.name = "--show",
     .kind = OPTION_INT,
     .offset = offsetof(exam_args, show),
     .argument = "I",
     .min = 0,
     .max = 1e9,
     .help = "print question I, from 0, instead of asking any",
     .remedy = "questions count from 0: tasks, then lengths, depths and samples"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(exam_args, json),
     .help = "print JSON"},
};

static const option TEXT[] = {
    {.name = "--text",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, text),
     .argument = "PATH",
     .help = "file or folder of text to hide needles in (default: noise, one\n"
             "sentence again and again)"},
    {.name = "--tasks",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, tasks),
     .argument = "LIST",
     .help = "names, comma-separated (default: all that need nothing more)"},
    {.name = "--squad",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, squad),
     .argument = "FILE",
     .help = "for qa_1: SQuAD's JSON, dev-v2.0.json or dev-v1.1.json"},
    {.name = "--hotpotqa",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, hotpotqa),
     .argument = "FILE",
     .help = "for qa_2: HotpotQA's JSON, hotpot_dev_distractor_v1.json"},
};

static const option NEEDLE[] = {
    {.name = "--depths",
     .kind = OPTION_INTS,
     .offset = offsetof(exam_args, depths),
     .argument = "LIST",
     .min = 0,
     .max = 100,
     .help = "where it is hidden, per cent of the text (default: 0,10,...,100)",
     .remedy = "0 is the beginning, 100 the end"},
    {.name = "--text",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, text),
     .argument = "PATH",
     .help = "file or folder of text to hide it in (default: noise, one sentence\n"
             "again and again)"},
    {.name = "--output",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, picture),
     .argument = "FILE",
     .help = "picture of the grid, .png or .svg (default: none)"},
};

static const option TRAINER[] = {
    {.name = "--tasks",
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, tasks),
     .argument = "LIST",
     .help = "names, comma-separated (default: all that need nothing more)"},
    {.name = "--text",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(exam_args, text),
     .argument = "PATH",
     .help = "for train_needle: file or folder of text to hide facts in"},
};

static const option PAIRS[] = {
    {.name = "--items",
     .kind = OPTION_INT,
     .offset = offsetof(exam_args, items),
     .argument = "N",
     .min = 1,
     .max = 1000000,
     .help = "pairs, letters, digits or facts of a sample (default: fits the length)",
     .remedy = "leave it out for what fits the length"},
    {.name = "--questions",
     .kind = OPTION_INT,
     .offset = offsetof(exam_args, questions),
     .argument = "N",
     .min = 1,
     .max = 1000000,
     .help = "of these asked in a sample (default: fits the task)",
     .remedy = "leave it out for what fits the task"},
};

option_group exam_group(exam_args *args) {
    return (option_group){"Questions", COMMON, COUNT(COMMON), args};
}

option_group exam_group_ruler(exam_args *args) {
    return (option_group){"Tasks", TEXT, COUNT(TEXT), args};
}

option_group exam_group_needle(exam_args *args) {
    return (option_group){"Needle", NEEDLE, COUNT(NEEDLE), args};
}

option_group exam_group_pairs(exam_args *args) {
    return (option_group){"Samples", PAIRS, COUNT(PAIRS), args};
}

option_group exam_group_trainer(exam_args *args) {
    return (option_group){"Tasks", TRAINER, COUNT(TRAINER), args};
}
