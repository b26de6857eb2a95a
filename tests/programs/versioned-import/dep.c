__attribute__((symver("probe@DEP_1"))) long probe_first(long n)
{
    return n + 100;
}

__attribute__((symver("probe@@DEP_2"))) long probe_second(long n)
{
    return n + 200;
}

long always_there(long n)
{
    return n;
}
