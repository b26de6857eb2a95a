struct Shape {
    virtual long area(long side) const = 0;
    virtual ~Shape() {}
};

struct Square : Shape {
    long area(long side) const override;
};

struct Strip : Shape {
    long area(long side) const override;
};

long Strip::area(long side) const
{
    return side * 2 - 1;
}

static Square square;
static Strip strip;
static Shape *const volatile shapes[] = {&square, &strip};

long answer(long n)
{
    return shapes[0]->area(n) + shapes[1]->area(0) + 1;
}
