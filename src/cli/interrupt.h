/* interrupt.h: Ctrl-C ends the work in hand cleanly; a second one ends the program at once. */
#ifndef MSA_CLI_INTERRUPT_H
#define MSA_CLI_INTERRUPT_H

#include <stdbool.h>

/* From now on the first SIGINT only raises the flag, the next one kills. Call again to lower it.
 * Where the caller's shell has SIGINT ignored, it stays ignored. */
void interrupt_arm(void);
bool interrupt_seen(void);

#endif
