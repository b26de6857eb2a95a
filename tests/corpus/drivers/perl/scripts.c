/* Perl in an interpreter for each thread: expressions, translations, open directories.
 *
 * object: libperl.so.5.36*
 * link: -D_REENTRANT -D_GNU_SOURCE -DDEBIAN -fwrapv -fno-strict-aliasing -D_LARGEFILE_SOURCE
 * link: -D_FILE_OFFSET_BITS=64 -I/usr/lib/x86_64-linux-gnu/perl/5.36/CORE -lperl -ldl -lm -lcrypt
 */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <EXTERN.h>
#include <perl.h>

#include "driver.h"

EXTERN_C void xs_init(pTHX) { PERL_UNUSED_CONTEXT; }

static const char script[] =
    "my $n = 0;"
    "sub IsMine { return \"30\\t39\\n\" }"
    "$n++ if '5' =~ /^\\p{IsMine}$/ and 'x' !~ /\\p{main::IsMine}/;"
    "eval { 'x' =~ /\\p{main::IsNone}/ }; $n++ if $@;"
    "my $t = \"a\\x{e9}b\" x 50; (my $u = $t) =~ tr/\\x{80}-\\x{ff}/\\x{100}-\\x{17f}/;"
    "$n++ if length $u == 150 and ord(substr $u, 1) == 0x169;"
    "($u = $t) =~ tr/a-z//cd; $n++ if length $u == 100;"
    "opendir my $d, '/etc' or die; my @e = readdir $d; closedir $d; $n++ if @e > 3;"
    "for my $e ('(a|b)*c', '(?<x>y)\\k<x>', '[[:alpha:]]+?', '(?i)stra\\xdfe', '(') {"
    " $n++ if eval { 'abcyyzSTRASSE' =~ /$e/; 1 } }"
    "$n";

static perl_mutex one;

static void **arguments_of(void) {
    static char *arguments[] = {"", "-e", "0", NULL};
    return (void **)arguments;
}

void setup(void) {
    int count = 3;
    char **arguments = (char **)arguments_of(), **environment = environ;
    PERL_SYS_INIT3(&count, &arguments, &environment);
    MUTEX_INIT(&one);
}

static PerlInterpreter *interpreter(void) {
    MUTEX_LOCK(&one);
    PerlInterpreter *my_perl = perl_alloc();
    PERL_SET_CONTEXT(my_perl);
    perl_construct(my_perl);
    PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
    if (perl_parse(my_perl, xs_init, 3, (char **)arguments_of(), NULL))
        driver_fail("no interpreter");
    MUTEX_UNLOCK(&one);
    return my_perl;
}

void exercise(void) {
    static _Thread_local PerlInterpreter *my_perl;
    if (!my_perl) my_perl = interpreter();
    PERL_SET_CONTEXT(my_perl);
    ENTER;
    SAVETMPS;
    IV answer = SvIV(eval_pv(script, FALSE));
    if (answer != 9) driver_fail("the script: %ld %s", (long)answer, SvPV_nolen(ERRSV));
    FREETMPS;
    LEAVE;
}
