/* Every worker checks that it alone changes its copy of `seen`. Included by the TLS cases. */
long answer(long n)
{
    seen = 0;
    return tally(n);
}

long invariant(long worker)
{
    static __thread long expected;
    if (expected == 0) {
        expected = seen;
        if (expected != 3)
            return 1;
    }
    expected += worker + 1;
    return tally(worker + 1) != expected;
}
