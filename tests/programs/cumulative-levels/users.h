long first(long n);
long second(long n);

/* first() and second() of one level agree: 1x and 1x, 2x and 2x, 3x and 3x. */
long answer(long n)
{
    return n < 100 ? first(n) : second(n - 100);
}

long invariant(long worker)
{
    long found = first(worker % 4) - worker % 4;
    return found != 10 && found != 20 && found != 30;
}
