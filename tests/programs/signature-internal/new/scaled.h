#pragma once
long scaled(long n, long more);
long twice(long n);
