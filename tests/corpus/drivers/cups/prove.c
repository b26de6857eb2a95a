/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libcups.so.2*
 * link: -lcups
 * proves: 0013-CVE-2023-32324.patch 0024-CVE-2024-47175-and-further-hardening.patch
 */
#include "driver.h"

#include "printer.h"

/* Nothing may be written to a place of no size (it has some). */
static int writes_into_nothing(void) {
    char place[32] = "untouched";
    _cups_strlcpy(place, "written", 0);
    return strcmp(place, "untouched") != 0;
}

/* The model's name holds a line of its own for the description. */
static int lines_added(void) {
    char line[200];
    return description("Maker Model\"\n*FoomaticRIPCommandLine: \"true", "*FoomaticRIP", line,
                       sizeof line);
}

void setup(void) { setenv("TMPDIR", "/tmp", 1); }

void exercise(void) {
    char line[200] = "";
    if (description("Maker Model 1", "*ModelName:", line, sizeof line) != 1)
        driver_fail("no model");
}

const char *prove(void) {
    static char line[120];
    snprintf(line, sizeof line, "writes into nothing %d, lines added %d", writes_into_nothing(),
             lines_added());
    return line;
}
