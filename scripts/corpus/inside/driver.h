/* What a library driver of the corpus gets and gives; see tests/corpus/README.md. */
#ifndef NAHT_CORPUS_DRIVER_H
#define NAHT_CORPUS_DRIVER_H

/* Given by the driver. Only `exercise` is required. */
void exercise(void);
const char *prove(void) __attribute__((weak));
void setup(void) __attribute__((weak));

/* Given by the harness. */
void driver_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The path of a file of the driver's folder, in memory of the calling thread. */
const char *driver_data(const char *name);

#endif
