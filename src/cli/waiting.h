/* waiting.h: how threads wait for each other. */
#ifndef MSA_CLI_WAITING_H
#define MSA_CLI_WAITING_H

/* Has threads that wait spin briefly, then sleep, unless the environment says how they wait. Starts
 * the program anew, once, before it has done anything; returns where that is done or can't be, as
 * under an emulator. */
void waiting_set(char **argv);

#endif
