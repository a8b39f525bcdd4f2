/* machine.h: facts about the computer the program runs on. */
#ifndef MSA_CLI_MACHINE_H
#define MSA_CLI_MACHINE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* "AMD EPYC 9R14"; what the system calls the CPU, or its architecture. */
void machine_cpu_name(char *name, size_t size);
int machine_threads(void);       /* that the library will use: --threads, or all it may */
int machine_cpus(void);          /* online */
int64_t machine_memory(void);    /* bytes; 0 where the system does not say */
int64_t machine_available(void); /* bytes free for use; 0 where the system does not say */

/* {"cpu", "isa", "threads"}: the head of JSON that holds measurements; NULL without memory. */
json_t *machine_json(void);

/* "1.5 GiB" */
void format_bytes(double n_bytes, char *text, size_t size);

#endif
