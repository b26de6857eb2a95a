#include "case.h"

NOINLINE static void sort_down(int *numbers, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && numbers[j - 1] < numbers[j]; j--) {
            int kept = numbers[j];
            numbers[j] = numbers[j - 1];
            numbers[j - 1] = kept;
        }
}

NOINLINE static long checked(int *sorted, long n)
{
    return n < 0 || n >= 10 ? -1 : sorted[n] + (n == 1) + (n == 7);
}

NOINLINE long answer(long n)
{
    int numbers[] = {3, 9, 1, 7, 5, 0, 8, 2, 6, 4};
    sort_down(numbers, 10);
    return checked(numbers, n);
}
