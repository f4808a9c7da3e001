/* The least that running commands can cost: posix_spawn and wait, so many at a time. floor N JOBS PROGRAM */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    long left = atol(argv[1]), jobs = atol(argv[2]), running = 0;
    char *words[] = {argv[3], NULL};
    while (left || running) {
        if (left && running < jobs) {
            pid_t pid;
            if (posix_spawn(&pid, argv[3], NULL, NULL, words, environ)) return 1;
            left--, running++;
        } else {
            int status;
            if (wait(&status) < 0 || status) return 1;
            running--;
        }
    }
    return 0;
}
