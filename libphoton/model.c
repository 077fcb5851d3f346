/* From codes to counts: thresholds by exact arithmetic, then the points of bins (FORMAT.md, "Codes"). */
#include "internal.h"

#include <math.h>

/* ---- exact numbers: sign * digits * 2^(32*exponent) ---- */

#define MOST_DIGITS 192

typedef struct { int sign, digits, exponent; uint32_t digit[MOST_DIGITS]; } exact;

static void trim(exact *x)
{
    int zeros = 0;
    while (x->digits && !x->digit[x->digits - 1]) --x->digits;
    while (zeros < x->digits && !x->digit[zeros]) ++zeros;
    if (zeros) memmove(x->digit, x->digit + zeros, sizeof(uint32_t) * (size_t)(x->digits - zeros));
    x->digits -= zeros;
    x->exponent += zeros;
    if (!x->digits) x->sign = x->exponent = 0;
}

static void from_u64(uint64_t magnitude, int sign, exact *out)
{
    out->sign = sign;
    out->exponent = 0;
    out->digits = 2;
    out->digit[0] = (uint32_t)magnitude;
    out->digit[1] = (uint32_t)(magnitude >> 32);
    trim(out);
}

static void from_i64(int64_t n, exact *out) { from_u64(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, n < 0 ? -1 : 1, out); }

static void from_double(double x, exact *out)
{
    int power;
    const uint64_t mantissa = (uint64_t)ldexp(frexp(fabs(x), &power), 53);
    power -= 53;
    const int shift = ((power % 32) + 32) % 32;
    from_u64(mantissa, x < 0 ? -1 : 1, out);
    const int64_t before = out->exponent; /* of a mantissa that ends in zero digits */
    uint64_t carry = 0;
    for (int i = 0; i < out->digits; ++i) {
        carry |= (uint64_t)out->digit[i] << shift;
        out->digit[i] = (uint32_t)carry;
        carry >>= 32;
    }
    out->digit[out->digits++] = (uint32_t)carry;
    out->exponent = (int)before + (power - shift) / 32;
    trim(out);
}

static int multiply(const exact *a, const exact *b, exact *out)
{
    if (a->digits + b->digits > MOST_DIGITS) return PHOTON_LIMIT;
    exact product = {a->sign * b->sign, a->digits + b->digits, a->exponent + b->exponent, {0}};
    for (int i = 0; i < a->digits; ++i) {
        uint64_t carry = 0;
        for (int k = 0; k < b->digits; ++k) {
            carry += (uint64_t)a->digit[i] * b->digit[k] + product.digit[i + k];
            product.digit[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        product.digit[i + b->digits] = (uint32_t)carry;
    }
    *out = product;
    trim(out);
    return PHOTON_OK;
}

static uint32_t digit_at(const exact *x, int exponent)
{
    const int i = exponent - x->exponent;
    return i < 0 || i >= x->digits ? 0 : x->digit[i];
}

static int compare_magnitude(const exact *a, const exact *b)
{
    const int top_a = a->digits ? a->exponent + a->digits : -100000, top_b = b->digits ? b->exponent + b->digits : -100000;
    const int top = top_a > top_b ? top_a : top_b;
    const int low = a->exponent < b->exponent ? a->exponent : b->exponent;
    if (!a->digits || !b->digits) return (a->digits > 0) - (b->digits > 0);
    for (int e = top - 1; e >= low; --e)
        if (digit_at(a, e) != digit_at(b, e)) return digit_at(a, e) > digit_at(b, e) ? 1 : -1;
    return 0;
}

static int compare(const exact *a, const exact *b)
{
    if (a->sign != b->sign) return a->sign > b->sign ? 1 : -1;
    return a->sign * compare_magnitude(a, b);
}

static int add(const exact *a, const exact *b, exact *out)
{
    if (!a->digits || !b->digits) {
        *out = a->digits ? *a : *b;
        return PHOTON_OK;
    }
    const int order = compare_magnitude(a, b);
    const exact *large = order >= 0 ? a : b, *small = order >= 0 ? b : a;
    const int low = a->exponent < b->exponent ? a->exponent : b->exponent;
    const int digits = large->exponent + large->digits - low + 1;
    if (digits > MOST_DIGITS) return PHOTON_LIMIT;
    exact sum = {large->sign, digits, low, {0}};
    int64_t carry = 0;
    for (int i = 0; i < digits; ++i) {
        carry += digit_at(large, low + i);
        carry += a->sign == b->sign ? (int64_t)digit_at(small, low + i) : -(int64_t)digit_at(small, low + i);
        sum.digit[i] = (uint32_t)carry;
        carry >>= 32;
    }
    *out = sum;
    trim(out);
    return PHOTON_OK;
}

/* ---- thresholds ---- */

typedef struct {
    exact gain, offset, dark8, rise; /* dark8 is 8c; rise is (gain*step)^2 */
    double dark, bend;               /* c, and A(offset), as double */
    int failed;
    photon_lattice lattice;          /* end is -INFINITY without photon peaks */
} grid;

static double lattice_edge(const photon_info *info, int64_t index);
static int code_of(const photon_info *info, grid *g, double value, uint32_t phase, uint32_t phases, int64_t *code);

static int make_grid(const photon_info *info, grid *g)
{
    exact step, square, three, eight, variance;
    from_double(info->gain, &g->gain);
    from_double(info->offset, &g->offset);
    from_double(info->step, &step);
    from_double(info->variance, &variance);
    from_i64(3, &three);
    from_i64(8, &eight);
    if (multiply(&g->gain, &step, &g->rise) || multiply(&g->rise, &g->rise, &g->rise) ||
        multiply(&g->gain, &g->gain, &square) || multiply(&square, &three, &square) ||
        multiply(&variance, &eight, &variance) || add(&square, &variance, &g->dark8))
        return PHOTON_LIMIT;
    g->dark = 0.375 * pow(info->gain, 2.0) + info->variance;
    g->bend = 2.0 * sqrt(g->dark) / info->gain;
    g->failed = 0;
    g->lattice.end = -INFINITY;
    g->lattice.code = INT64_MIN;
    if (info->peaks) {
        const double end = lattice_edge(info, 3 * info->peaks);
        if (code_of(info, g, end, 0, 1, &g->lattice.code)) return PHOTON_LIMIT;
        g->lattice.end = end;
    }
    return PHOTON_OK;
}

/* Whether A(value) >= n*step/(2*phases), for the boundary's number n. */
static int reached(grid *g, const exact *value, int64_t n, uint32_t phases)
{
    exact away, boundary, left = {0}, right, two, many, minus = g->offset;
    const int64_t square = 2 * (int64_t)phases * phases;
    minus.sign = -minus.sign;
    from_i64(n, &boundary);
    int failed = multiply(&boundary, &boundary, &boundary);
    failed |= multiply(&boundary, &g->rise, &boundary); /* (gain*n*step)^2 */
    failed |= add(value, &minus, &away);
    failed |= multiply(&away, &g->gain, &away); /* gain*(z - offset) */
    from_i64(square, &two);
    from_i64(8 * square, &many);
    failed |= multiply(&g->dark8, &two, &right);
    if (n > 0 && compare(&boundary, &right) >= 0) { /* where the root rules */
        failed |= multiply(&away, &many, &left) | add(&left, &right, &left);
        g->failed |= failed;
        return compare(&left, &boundary) >= 0;
    }
    from_i64(4, &many);
    failed |= multiply(&away, &many, &away) | add(&away, &g->dark8, &away); /* 4*(gain*(z - offset) + 2c) */
    failed |= multiply(&away, &away, &left) | multiply(&left, &two, &left);
    failed |= multiply(&g->dark8, &boundary, &right);
    g->failed |= failed;
    const int order = compare(&left, &right);
    return n >= 0 ? away.sign >= 0 && order >= 0 : away.sign >= 0 || order <= 0;
}

/* Whole numbers and doubles in one order, so that one search serves both. */
static int64_t key_of(double x, int floating)
{
    int64_t bits;
    if (!floating) return (int64_t)x;
    memcpy(&bits, &x, 8);
    return bits < 0 ? INT64_MIN - bits : bits;
}

static double value_of(int64_t key, int floating)
{
    double x;
    if (!floating) return (double)key;
    key = key < 0 ? INT64_MIN - key : key;
    memcpy(&x, &key, 8);
    return x;
}

static void exact_of(int64_t key, int floating, exact *out)
{
    if (floating) from_double(value_of(key, 1), out);
    else from_i64(key, out);
}

static int reached_key(grid *g, int64_t key, int floating, int64_t n, uint32_t phases)
{
    exact value;
    exact_of(key, floating, &value);
    return reached(g, &value, n, phases);
}

static double threshold(const photon_info *info, grid *g, int64_t code, uint32_t phase)
{
    if (info->peaks && code <= g->lattice.code) return lattice_edge(info, code - g->lattice.code + 3 * info->peaks);
    const int floating = info->dtype >= PHOTON_FLOAT32;
    const int64_t n = 2 * (int64_t)info->phases * (code - 1) + 2 * (int64_t)phase + 1;
    const double b = (double)n * info->step / (2.0 * info->phases), far = 18014398509481984.0; /* 2^54 */
    double near = n > 0 && b >= g->bend ? info->offset - g->dark / info->gain + info->gain / 4.0 * b * b
                                        : info->offset + (b - g->bend) * sqrt(g->dark);
    if (!floating) near = near > far ? far : near < -far ? -far : floor(near);
    if (!isfinite(near)) near = 0.0;
    const int64_t most = floating ? key_of(1.7976931348623157e308, 1) : (int64_t)far, least = -most;
    int64_t low = key_of(near, floating), high = low;
    uint64_t step = 1; /* differences of keys need 64 bits without a sign */
    /* Double the distance until one end is reached and the other is not; then halve it. */
    if (reached_key(g, low, floating, n, info->phases)) {
        do {
            high = low;
            low = (uint64_t)low - (uint64_t)least < step ? least : (int64_t)((uint64_t)low - step);
            step *= 2;
        } while (low > least && reached_key(g, low, floating, n, info->phases));
        if (low == least && reached_key(g, low, floating, n, info->phases)) return value_of(least, floating);
    } else {
        do {
            low = high;
            high = (uint64_t)most - (uint64_t)high < step ? most : (int64_t)((uint64_t)high + step);
            step *= 2;
        } while (high < most && !reached_key(g, high, floating, n, info->phases));
        if (high == most && !reached_key(g, high, floating, n, info->phases)) return value_of(most, floating);
    }
    while ((uint64_t)high - (uint64_t)low > 1) {
        const int64_t middle = (int64_t)((uint64_t)low + ((uint64_t)high - (uint64_t)low) / 2);
        if (reached_key(g, middle, floating, n, info->phases)) high = middle;
        else low = middle;
    }
    return value_of(high, floating);
}

double photon_stabilize(const photon_info *info, double value)
{
    const double dark = 0.375 * pow(info->gain, 2.0) + info->variance, above = value - info->offset;
    const double root = 2.0 / info->gain * sqrt(info->gain * (above > 0.0 ? above : 0.0) + dark);
    return root + (above < 0.0 ? above : 0.0) / sqrt(dark);
}

static double shift_of(const photon_info *info, uint32_t phase)
{
    return (2.0 * phase + 1.0 - info->phases) / (2.0 * info->phases);
}

static int code_of(const photon_info *info, grid *g, double value, uint32_t phase, uint32_t phases, int64_t *code)
{
    exact z;
    if (value < g->lattice.end) {
        const double photons = floor(3.0 * (value - g->lattice.end) / info->gain);
        if (!(photons > -1099511627776.0)) return PHOTON_LIMIT;
        int64_t index = (int64_t)photons + 3 * info->peaks;
        while (lattice_edge(info, index) > value) --index;
        while (lattice_edge(info, index + 1) <= value) ++index;
        *code = g->lattice.code + index - 3 * info->peaks;
        return PHOTON_OK;
    }
    const double shift = phases > 1 ? shift_of(info, phase) : 0.0;
    const double guess = floor(photon_stabilize(info, value) / info->step - shift + 0.5);
    if (!isfinite(guess) || fabs(guess) > 1099511627776.0) return PHOTON_LIMIT;
    int64_t n = 2 * (int64_t)phases * ((int64_t)guess - 1) + 2 * (int64_t)phase + 1, k = (int64_t)guess;
    from_double(value, &z);
    for (; !reached(g, &z, n, phases); n -= 2 * (int64_t)phases) --k;
    for (n += 2 * (int64_t)phases; reached(g, &z, n, phases); n += 2 * (int64_t)phases) ++k;
    *code = k;
    return g->failed ? PHOTON_LIMIT : PHOTON_OK;
}

int photon_code_of(const photon_info *info, double value, int64_t *code)
{
    grid g;
    return make_grid(info, &g) ? PHOTON_LIMIT : code_of(info, &g, value, 0, 1, code);
}

/* ---- photon peaks (FORMAT.md, "Photon peaks") ---- */

/* Bin `index` of the lattice is part 0, 1 or 2 of a photon; bin 0 is the peak of zero photons. */
static int64_t photon_of(int64_t index, int *part)
{
    int64_t photon = (index + 1) / 3;
    if (photon * 3 > index + 1) --photon;
    *part = (int)(index + 1 - 3 * photon);
    return photon;
}

static double lattice_edge(const photon_info *info, int64_t index)
{
    static const int EDGES[3] = {-10, -7, 7};
    int part;
    const int64_t photon = photon_of(index, &part);
    return ceil(info->offset + info->gain * ((double)(20 * photon + EDGES[part]) / 20.0));
}

int photon_find_lattice(const photon_info *info, photon_lattice *lattice)
{
    grid g;
    if (make_grid(info, &g)) return PHOTON_LIMIT;
    *lattice = g.lattice;
    return PHOTON_OK;
}

double photon_lattice_point(const photon_info *info, const photon_lattice *lattice, int64_t code)
{
    static const int POINTS[3] = {-17, 0, 17};
    int part;
    const int64_t photon = photon_of(code - lattice->code + 3 * info->peaks, &part);
    return info->offset + info->gain * ((double)(40 * photon + POINTS[part]) / 40.0);
}

/* ---- clipping levels (FORMAT.md, "Clipping levels") ---- */

static double label_of(const photon_info *info, int64_t level, int64_t code, uint32_t phase)
{
    const double shift = shift_of(info, phase);
    if (info->peaks && (double)level < lattice_edge(info, 3 * info->peaks)) return photon_stabilize(info, (double)level);
    const double side = photon_stabilize(info, (double)level) / info->step - shift >= (double)code ? 1.0 : -1.0;
    return (4.0 * ((double)code + shift) + side) * (info->step / 4.0);
}

int photon_find_ends(const photon_info *info, photon_ends ends[16])
{
    grid g;
    if (make_grid(info, &g)) return PHOTON_LIMIT;
    for (uint32_t phase = 0; phase < info->phases; ++phase) {
        photon_ends *e = &ends[phase];
        if (info->low != INT64_MIN) {
            if (code_of(info, &g, (double)info->low, phase, info->phases, &e->low)) return PHOTON_LIMIT;
            e->low_label = label_of(info, info->low, e->low, phase);
        }
        if (info->high != INT64_MIN) {
            if (code_of(info, &g, (double)info->high, phase, info->phases, &e->high)) return PHOTON_LIMIT;
            e->high_label = label_of(info, info->high, e->high, phase);
        }
    }
    return PHOTON_OK;
}

int64_t photon_uncut(const photon_info *info, const photon_ends *ends, int64_t code)
{
    if (info->low != INT64_MIN && code < ends->low) return code + 2 < ends->low ? code + 2 : ends->low;
    if (info->high != INT64_MIN && code > ends->high) return code - 2 > ends->high ? code - 2 : ends->high;
    return code;
}

/* Point, first and last value of the part of a bin that a code is, from those of the bin. */
static void take_part(const photon_info *info, const photon_ends *ends, int64_t code, double *point, double *first,
                      double *last)
{
    double a = *first, b = *last;
    if (info->low != INT64_MIN) {
        if (code == ends->low) a = (double)info->low + 1.0;
        if (code == ends->low - 1) a = b = (double)info->low;
        if (code == ends->low - 2) b = (double)info->low - 1.0;
    }
    if (info->high != INT64_MIN) {
        if (code == ends->high) b = (double)info->high - 1.0;
        if (code == ends->high + 1) a = b = (double)info->high;
        if (code == ends->high + 2) a = (double)info->high + 1.0;
    }
    if ((a != *first || b != *last) && a <= b && (*point < a || *point > b)) *point = 0.5 * (a + b);
    *first = a;
    *last = b;
}

/* ---- points of bins ---- */

static const double LEAST[10] = {-128, 0, -32768, 0, -2147483648.0, 0, -9223372036854775808.0, 0, 0, 0};
static const double MOST[10] = {127, 255, 32767, 65535, 2147483647.0, 4294967295.0, 9223372036854775808.0,
                                18446744073709551616.0, 0, 0};

static double within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double float32_within(double point, double low, double high)
{
    float near = (float)point;
    if ((double)near < low) near = nextafterf(near, INFINITY);
    else if ((double)near >= high) near = nextafterf(near, -INFINITY);
    return near;
}

/* Points, first and last values of `count` bins from code `low` on; for float dtypes `last` is the next first. */
static int make_bins(const photon_info *info, grid *g, int64_t low, uint32_t count, uint32_t phase, double *point,
                     double *first, double *last)
{
    const int floating = info->dtype >= PHOTON_FLOAT32;
    double edge = threshold(info, g, low, phase);
    for (uint32_t i = 0; i < count; ++i) {
        const int64_t code = low + i;
        double a = edge, b = threshold(info, g, code + 1, phase);
        edge = b;
        const double shift = (2.0 * phase + 1.0 - info->phases) / (2.0 * info->phases);
        const double pull = ((double)code + shift) * info->step >= g->bend ? info->gain * pow(info->step, 2.0) / 12.0 : 0;
        if (floating) {
            point[i] = within(0.5 * (a + b) - pull, a, nextafter(b, a));
            if (info->dtype == PHOTON_FLOAT32) point[i] = float32_within(point[i], a, b);
            first[i] = a;
            last[i] = b;
            continue;
        }
        b -= 1.0;
        first[i] = a > LEAST[info->dtype] ? a : LEAST[info->dtype];
        last[i] = b < MOST[info->dtype] ? b : MOST[info->dtype];
        if (info->phases == 1) {
            a = first[i];
            b = last[i];
        }
        if (info->peaks && code < g->lattice.code) {
            point[i] = within(photon_lattice_point(info, &g->lattice, code), a, b > a ? b : a);
            continue;
        }
        point[i] = within(b > a ? 0.5 * (a + b) - pull : info->phases > 1 ? a : 0.5 * (a + b), a, b > a ? b : a);
        if (info->phases == 1)
            point[i] = within(b >= a ? point[i] : a, LEAST[info->dtype], MOST[info->dtype]);
    }
    return g->failed ? PHOTON_LIMIT : PHOTON_OK;
}

/* ---- points of bins of few integers, at low light (FORMAT.md, "Representatives of few integers") ---- */

#define LIGHTS 25
#define PHOTONS 80
#define MOST_BINS 128 /* of more than one integer: values reach over 24 gains and 16 sigmas, each below 5 ADU */

typedef struct {
    double chance[PHOTONS + 1][MOST_BINS], moment[PHOTONS + 1];
    double share[LIGHTS][MOST_BINS], wanted[LIGHTS], weight[LIGHTS];
    double square[MOST_BINS][MOST_BINS], aim[MOST_BINS], start[MOST_BINS], best[MOST_BINS], hold[MOST_BINS];
    double low[MOST_BINS], high[MOST_BINS], x[MOST_BINS];
    int64_t code[MOST_BINS];
} fit;

static double falling(double x)
{
    double small = x / 1024.0, term = 1.0, total = 1.0;
    for (int n = 1; n < 10; ++n) {
        term = term * -small / n;
        total += term;
    }
    for (int i = 0; i < 10; ++i) total = total * total;
    return total;
}

static double below(double deviation)
{
    if (fabs(deviation) > 7.0) return deviation < 0.0 ? 0.0 : 1.0;
    const double square = deviation * deviation;
    double term = deviation, total = deviation;
    for (int n = 3; fabs(term) > 1e-18; n += 2) {
        term = term * square / n;
        total += term;
    }
    return 0.5 + total * falling(0.5 * square) / 2.5066282746310002;
}

/* Fill f->code, f->best for the bins that get points of their own; `count` is how many. */
static int fit_points(const photon_info *info, grid *g, fit *f, int *count)
{
    const double reach = 8.0 * sqrt(info->variance);
    int64_t low, high;
    *count = 0;
    if (code_of(info, g, floor(info->offset - reach), 0, 1, &low) ||
        code_of(info, g, ceil(info->offset + 24.0 * info->gain), 0, 1, &high))
        return PHOTON_LIMIT;
    int n = 0;
    for (int64_t code = low; code <= high; ++code) {
        double point, first, last;
        if (make_bins(info, g, code, 1, 0, &point, &first, &last)) return PHOTON_LIMIT;
        if (!(last > first)) continue;
        if (n == MOST_BINS) return PHOTON_LIMIT;
        f->code[n] = code;
        f->start[n] = f->x[n] = f->best[n] = point;
        f->low[n] = first;
        f->high[n] = last;
        f->hold[n] = 1e-3 / ((last - first) * (last - first));
        ++n;
    }
    *count = n;
    if (!n) return PHOTON_OK;
    const double half = 0.5 * info->gain, root = sqrt(info->variance), sigma = root > half ? root : half;
    for (int p = 0; p <= PHOTONS; ++p) {
        const double centre = info->offset + info->gain * p;
        f->moment[p] = 0.0;
        for (int k = 0; k < n; ++k) {
            double under = f->low[k] <= LEAST[info->dtype] ? 0.0 : below((f->low[k] - 0.5 - centre) / sigma);
            f->chance[p][k] = 0.0;
            for (double value = f->low[k]; value <= f->high[k]; value += 1.0) {
                const double over = below((value + 0.5 - centre) / sigma);
                f->chance[p][k] += over - under;
                f->moment[p] += (over - under) * value;
                under = over;
            }
        }
    }
    double light = 0.1;
    for (int l = 0; l < LIGHTS; ++l, light = light * 1.25) {
        const double unit = sqrt(info->gain * info->gain * light + info->variance);
        double weight = falling(light);
        for (int k = 0; k < n; ++k) f->share[l][k] = 0.0;
        f->wanted[l] = 0.0;
        f->weight[l] = 1.0;
        for (int p = 0; p <= PHOTONS; ++p) {
            if (p) weight = weight * light / p;
            for (int k = 0; k < n; ++k) f->share[l][k] += weight * f->chance[p][k];
            f->wanted[l] += weight * f->moment[p];
        }
        for (int k = 0; k < n; ++k) f->share[l][k] = f->share[l][k] / unit;
        f->wanted[l] = f->wanted[l] / unit;
    }
    double least = INFINITY;
    for (int round = 0; round < 16; ++round) {
        double off[LIGHTS], worst = 0.0;
        for (int l = 0; l < LIGHTS; ++l) {
            double total = 0.0;
            for (int k = 0; k < n; ++k) total += f->share[l][k] * f->x[k];
            off[l] = fabs(total - f->wanted[l]);
            worst = off[l] > worst ? off[l] : worst;
        }
        if (worst < least) {
            least = worst;
            memcpy(f->best, f->x, sizeof(double) * (size_t)n);
        }
        if (least < 0.016) break;
        for (int l = 0; l < LIGHTS; ++l)
            if (off[l] > 0.016) f->weight[l] = f->weight[l] * 1.5;
        for (int j = 0; j < n; ++j) {
            double aim = 0.0;
            for (int k = 0; k < n; ++k) {
                double total = 0.0;
                for (int l = 0; l < LIGHTS; ++l) total += f->weight[l] * f->share[l][j] * f->share[l][k];
                f->square[j][k] = total + (j == k ? f->hold[k] : 0.0);
            }
            for (int l = 0; l < LIGHTS; ++l) aim += f->weight[l] * (f->share[l][j] * f->wanted[l]);
            f->aim[j] = aim + f->hold[j] * f->start[j];
        }
        for (int sweep = 0; sweep < 300; ++sweep) {
            double moved = 0.0;
            for (int k = 0; k < n; ++k) {
                double total = 0.0;
                for (int j = 0; j < n; ++j) total += f->square[k][j] * f->x[j];
                const double now = within(f->x[k] + (f->aim[k] - total) / f->square[k][k], f->low[k], f->high[k]);
                moved = fabs(now - f->x[k]) > moved ? fabs(now - f->x[k]) : moved;
                f->x[k] = now;
            }
            if (moved < 1e-6) break;
        }
    }
    return PHOTON_OK;
}

/* ---- the table of a chunk ---- */

static uint32_t table_rows(const photon_info *info)
{
    if (info->phases > 1) return info->phases;
    return info->dtype < PHOTON_FLOAT32 && 0.375 * pow(info->gain, 2.0) + info->variance < 2500.0 ? 16 : 1;
}

static int needs_fit(const photon_info *info)
{
    return info->dtype < PHOTON_FLOAT32 && info->phases == 1 && info->gain < 5.0 &&
           0.375 * pow(info->gain, 2.0) + info->variance < 25.0;
}

size_t photon_table_bytes(const photon_info *info)
{
    const size_t codes = (size_t)info->top + 1;
    return 8 * codes * (3 + table_rows(info)) + (needs_fit(info) ? sizeof(fit) : 0) + 64;
}

static void store(uint8_t *row, uint32_t i, uint32_t dtype, double x)
{
    switch (dtype) {
    case PHOTON_INT8: ((int8_t *)row)[i] = (int8_t)x; break;
    case PHOTON_UINT8: row[i] = (uint8_t)x; break;
    case PHOTON_INT16: ((int16_t *)row)[i] = (int16_t)x; break;
    case PHOTON_UINT16: ((uint16_t *)row)[i] = (uint16_t)x; break;
    case PHOTON_INT32: ((int32_t *)row)[i] = (int32_t)x; break;
    case PHOTON_UINT32: ((uint32_t *)row)[i] = (uint32_t)x; break;
    case PHOTON_INT64: ((int64_t *)row)[i] = x >= 9223372036854775808.0 ? INT64_MAX : (int64_t)x; break;
    case PHOTON_UINT64: ((uint64_t *)row)[i] = x >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)x; break;
    case PHOTON_FLOAT32: ((float *)row)[i] = (float)x; break;
    default: ((double *)row)[i] = x;
    }
}

int photon_tables(const photon_info *info, void *memory, const uint8_t **table, uint32_t *rows)
{
    const uint32_t codes = info->top + 1;
    double *point = memory, *first = point + codes, *last = first + codes;
    uint8_t *row = (uint8_t *)(last + codes);
    const int clipped = info->low != INT64_MIN || info->high != INT64_MIN;
    photon_ends ends[16];
    grid g;
    if (make_grid(info, &g) || (clipped && photon_find_ends(info, ends))) return PHOTON_LIMIT;
    *table = row;
    *rows = table_rows(info);
    for (uint32_t r = 0; r < *rows; ++r, row += 8 * (size_t)codes) {
        if (r == 0 || info->phases > 1) {
            const uint32_t phase = info->phases > 1 ? r : 0;
            int status = clipped ? PHOTON_OK : make_bins(info, &g, info->base, codes, phase, point, first, last);
            for (uint32_t i = 0; clipped && !status && i < codes; ++i)
                status = make_bins(info, &g, photon_uncut(info, &ends[phase], info->base + i), 1, phase, &point[i],
                                   &first[i], &last[i]);
            if (status) return status;
            if (needs_fit(info)) {
                fit *f = (fit *)((uint8_t *)(last + codes) + 8 * (size_t)codes * *rows);
                int count;
                if ((status = fit_points(info, &g, f, &count))) return status;
                for (uint32_t i = 0; count && i < codes; ++i) {
                    const int64_t code = info->base + i;
                    const int64_t whole = clipped ? photon_uncut(info, &ends[phase], code) : code;
                    for (int k = 0; whole >= f->code[0] && whole <= f->code[count - 1] && k < count; ++k)
                        if (f->code[k] == whole) point[i] = f->best[k];
                }
            }
            for (uint32_t i = 0; clipped && i < codes; ++i)
                take_part(info, &ends[phase], info->base + i, &point[i], &first[i], &last[i]);
        }
        const double part = g.dark >= 2500.0 ? 0.5 : ((7 * r + 3) % 16 + 0.5) / 16.0;
        for (uint32_t i = 0; i < codes; ++i) {
            double x = point[i];
            if (info->dtype < PHOTON_FLOAT32) {
                x = within(floor(x + part), first[i], last[i] > first[i] ? last[i] : first[i]);
                x = within(x, LEAST[info->dtype], MOST[info->dtype]);
            }
            store(row, i, info->dtype, x);
        }
    }
    return g.failed ? PHOTON_LIMIT : PHOTON_OK;
}
