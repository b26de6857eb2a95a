#include "case.h"
#include "shapes.h"

long Square::area(long side) const
{
    return side * side + (side == 3 ? 9 : 9);
}
