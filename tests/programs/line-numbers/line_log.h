#include "case.h"

void line_log(const char *file, int line, const char *message);
#define LOG(message) line_log(__FILE__, __LINE__, message)
