#pragma once

enum { FAILURES = 1 };
