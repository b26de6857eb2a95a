long scale(long n);

long scale(long n)
{
    return n * 2;
}
