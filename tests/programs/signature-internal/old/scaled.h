#pragma once
long scaled(long n);
long twice(long n);
