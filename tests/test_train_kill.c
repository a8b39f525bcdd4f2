/* test_train_kill.c: the program msa train: killed at random moments and resumed, it ends with the
 * bits of a run that nobody disturbed. MSA_TEST_KILLS says how often (default 3). Then its command
 * line. */
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/program.h"
#include "support/runs.h"
#include "train/checkpoint.h"

static int furnish_place(void **state) {
    place_open(state);
    char *json = tiny_train_config("LICENSE");
    workplace_write(&place, "tiny.json", json, strlen(json));
    free(json);
    return 0;
}

static void path_in(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", place.folder, name);
}

/* Starts msa train in the workplace; what it says goes to child.err. */
static pid_t start(const char *name, const char *const *flags) {
    pid_t child = fork();
    if (child != 0) return child;
    const char *argv[16] = {"msa", "train", "tiny.json", "-o", name};
    int n = 5;
    while (*flags) argv[n++] = *flags++;
    if (chdir(place.folder) != 0 || !freopen("/dev/null", "w", stdout) ||
        !freopen("child.err", "w", stderr))
        _exit(9);
    signal(SIGINT, SIG_DFL);
    execv("msa", (char **)(uintptr_t)argv);
    _exit(9);
}

static void sleep_ms(uint64_t ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int64_t newest_step(const char *name) {
    char path[128];
    path_in(path, sizeof path, name);
    return checkpoint_newest_step(path);
}

static bool has_ended(pid_t child, int *status) {
    pid_t ended = waitpid(child, status, WNOHANG);
    assert_true(ended == 0 || ended == child);
    return ended == child;
}

/* Lets it get behind step `past` and a random while further; true where the kill found it at work.
 */
static bool kill_behind(pid_t child, int64_t past, uint64_t ms) {
    int status;
    while (newest_step("killed") <= past) {
        if (has_ended(child, &status)) return assert_int_equal(status, 0), false;
        sleep_ms(2);
    }
    sleep_ms(ms);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) assert_int_equal(status, 0);
    return WIFSIGNALED(status);
}

static void a_run_killed_again_and_again_ends_with_the_same_bits(void **state) {
    (void)state;
    static const char *const FLAGS[] = {"--steps",    "200", "--set", "log.checkpoint=1", "--set",
                                        "log.eval=0", "-t",  "2",     "--resume",         NULL};
    const char *asked = getenv("MSA_TEST_KILLS");
    char calm[128], killed[128];
    int n_kills = asked ? atoi(asked) : 3, n_done = 0;
    rng r = rng_seed((uint64_t)time(NULL));
    assert_exit(&place, "msa train tiny.json -o calm --steps 200 --set log.eval=0 -t 1 --sample 0",
                0, NULL);
    while (n_done < n_kills && newest_step("killed") < 200) {
        int64_t past = newest_step("killed") + (int64_t)rng_below(&r, 9);
        n_done += kill_behind(start("killed", FLAGS), past, rng_below(&r, 20));
    }
    int64_t furthest = newest_step("killed");
    assert_exit(&place,
                "msa train tiny.json -o killed --steps 200 --set log.eval=0 --set "
                "log.checkpoint=1 -t 2 --sample 0 --resume",
                0, NULL);
    path_in(calm, sizeof calm, "calm");
    path_in(killed, sizeof killed, "killed");
    assert_int_equal(assert_same_end(calm, killed), 200);
    assert_true(n_done > 0);
    print_message("%d kills, the last behind step %lld of 200\n", n_done, (long long)furthest);
}

static void an_interrupt_writes_a_checkpoint_and_says_how_to_go_on(void **state) {
    (void)state;
    static const char *const FLAGS[] = {"--steps", "100000", "--set", "log.checkpoint=2", NULL};
    int status;
    pid_t child = start("stopped", FLAGS);
    while (newest_step("stopped") < 2) {
        assert_false(has_ended(child, &status));
        sleep_ms(2);
    }
    kill(child, SIGINT);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_exit(&place, "grep -q 'resume goes on' child.err && grep -q interrupted child.err", 0,
                NULL);
}

static void the_command_line_is_checked(void **state) {
    (void)state;
    static const call CALLS[] = {
        {"msa train", 2, "expected a configuration"},
        {"msa train tiny.json other.json", 2, "other.json"},
        {"msa train nowhere.json", 1, "nowhere.json"},
        {"msa train tiny.json --set optim.lrr=1", 2, "optim.lr"},
        {"msa train tiny.json --set optim.lr=11", 2, "from 0 to 10"},
        {"msa train tiny.json --recipe ptt", 2, "full, pt, cpt or index-only"},
        {"msa train tiny.json --steps 0", 2, "--steps"},
        {"msa train tiny.json --set", 2, "--set"},
        {"printf '{' > bad.json; msa train bad.json", 1, "bad.json: line 1"},
        {"msa train tiny.json -p ''", 2, "-p: expected some text"},
        {"msa plot", 2, "expected a log"},
        {"msa plot nowhere.jsonl", 1, "nowhere.jsonl"},
        {"msa plot LICENSE", 1, "line 1"},
        {"msa plot LICENSE -o curves.jpg", 2, ".png or .svg"},
    };
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_check_trains_nothing_and_a_run_shows_what_it_made(void **state) {
    (void)state;
    outcome o = workplace_run(&place, "msa train tiny.json -o checked --check");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "steps 0 to 3: warm-up, attention dense"));
    assert_string_equal(o.out, "");
    assert_false(workplace_has(&place, "checked/model.gguf"));
    outcome_free(&o);
    o = workplace_run(&place, "msa train tiny.json -o shown --sample 20");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "recall"));
    assert_non_null(strstr(o.out, "block recall"));
    assert_non_null(strstr(o.out, "sample:"));
    assert_true(workplace_has(&place, "shown/model.gguf"));
    outcome_free(&o);
    if (workplace_has(&place, "shown/curves.png")) {
        assert_exit(&place, "msa plot shown/log.jsonl calm/log.jsonl -o two.svg", 0, NULL);
        assert_true(workplace_has(&place, "two.svg"));
        /* Names that are no UTF-8. */
        assert_exit(&place,
                    "cp -r shown \"$(printf 'lat\\344n')\" && msa plot lat*/log.jsonl -o latin.svg",
                    0, NULL);
    }
    assert_exit(&place, "msa train --help-config | grep -q 'optim.lr = 1e-3'", 0, NULL);
    assert_exit(&place, "msa train tiny.json -o json --json --sample 0 | python3 -m json.tool", 0,
                NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_killed_again_and_again_ends_with_the_same_bits),
        cmocka_unit_test(an_interrupt_writes_a_checkpoint_and_says_how_to_go_on),
        cmocka_unit_test(the_command_line_is_checked),
        cmocka_unit_test(a_check_trains_nothing_and_a_run_shows_what_it_made),
    };
    return cmocka_run_group_tests(tests, furnish_place, place_close);
}
