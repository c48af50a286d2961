/* One layer of leaky integrate-and-fire neurons in C, graded with the golden vectors.
 *
 * Written from docs/vectors.md alone: reads the folder that `refsnn vectors export` wrote, writes
 * CASE/results/PATH.npy, to be graded by `refsnn vectors check`.  Nothing but the C library.
 *
 *     cc -std=c99 -O2 -ffp-contract=off spiking_neuron.c -o spiking_neuron -lm
 *     ./spiking_neuron FOLDER
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void fail(const char *what, const char *where)
{
    fprintf(stderr, "%s: %s\n", where, what);
    exit(2);
}

/* ---- arrays of float64 in .npy files, rows first ---------------------------------------------------- */

typedef struct {
    size_t axes, shape[2];
    double *at;
} Array;

static size_t size_of(const Array *a)
{
    size_t size = 1;
    for (size_t axis = 0; axis < a->axes; axis++) size *= a->shape[axis];
    return size;
}

static Array make(size_t axes, size_t rows, size_t columns)
{
    Array a = {axes, {axes == 1 ? columns : rows, columns}, NULL};
    a.at = calloc(size_of(&a) + 1, sizeof(double));
    if (!a.at) fail("no memory", "make");
    return a;
}

static Array load(const char *folder, const char *name)
{
    char path[4096], head[1024];
    unsigned char start[10];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY\x01", 7)) fail("no .npy file", path);
    size_t length = start[8] + 256u * start[9];
    if (length >= sizeof head || fread(head, 1, length, file) != length) fail("broken header", path);
    head[length] = 0;
    if (!strstr(head, "'<f8'") || !strstr(head, "'fortran_order': False")) fail("expected rows of float64", path);
    Array a = {0, {1, 1}, NULL};
    for (char *next = strchr(head, '(') + 1; *next && *next != ')';) {
        if (*next >= '0' && *next <= '9') {
            if (a.axes == 2) fail("expected one or two axes", path);
            a.shape[a.axes++] = strtoull(next, &next, 10);
        } else
            next++;
    }
    a.at = malloc((size_of(&a) + 1) * sizeof(double));
    if (!a.at || fread(a.at, sizeof(double), size_of(&a), file) != size_of(&a)) fail("broken numbers", path);
    fclose(file);
    return a;
}

static void save(const char *folder, const char *name, const Array *a)
{
    char path[4096], head[128], shape[64];
    snprintf(path, sizeof path, "%s/results/%s.npy", folder, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) { /* mkdir -p */
        *slash = 0;
        if (mkdir(path, 0777) && errno != EEXIST) fail("cannot make the folder", path);
        *slash = '/';
    }
    if (a->axes == 0) snprintf(shape, sizeof shape, "()");
    if (a->axes == 1) snprintf(shape, sizeof shape, "(%zu,)", a->shape[0]);
    if (a->axes == 2) snprintf(shape, sizeof shape, "(%zu, %zu)", a->shape[0], a->shape[1]);
    int used = snprintf(head, sizeof head, "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }", shape);
    int padded = 118; /* 10 bytes before it: 128 in all, a multiple of 64 */
    memset(head + used, ' ', padded - used);
    head[padded - 1] = '\n';
    unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, 0};
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(start, 1, 10, file) != 10 || fwrite(head, 1, padded, file) != (size_t)padded ||
        fwrite(a->at, sizeof(double), size_of(a), file) != size_of(a) || fclose(file))
        fail("cannot write", path);
}

/* ---- the neuron ------------------------------------------------------------------------------------- */

typedef struct {
    double leak, threshold, reset_value, slope, height;
    int hard, detach_reset, above;
    char shape[32];
} Neuron;

static Neuron read_neuron(const char *folder)
{
    char path[4096], line[256], name[64], value[64];
    Neuron n = {0};
    snprintf(path, sizeof path, "%s/hyperparameters.txt", folder);
    FILE *file = fopen(path, "r");
    if (!file) fail("no such file", path);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s = %63s", name, value) != 2) fail("expected name = value", path);
        if (!strcmp(name, "leak")) n.leak = strtod(value, NULL);
        if (!strcmp(name, "threshold")) n.threshold = strtod(value, NULL);
        if (!strcmp(name, "reset_value")) n.reset_value = strtod(value, NULL);
        if (!strcmp(name, "surrogate.slope")) n.slope = strtod(value, NULL);
        if (!strcmp(name, "surrogate.height")) n.height = strtod(value, NULL);
        if (!strcmp(name, "surrogate.shape")) snprintf(n.shape, sizeof n.shape, "%.31s", value);
        if (!strcmp(name, "reset")) n.hard = !strcmp(value, "hard");
        if (!strcmp(name, "detach_reset")) n.detach_reset = value[0] == '1';
        if (!strcmp(name, "fires")) n.above = !strcmp(value, ">");
    }
    fclose(file);
    return n;
}

static double psi(const Neuron *n, double u)
{
    double a = n->slope * fabs(u), q;
    if (!strcmp(n->shape, "sigmoid")) return q = exp(-a), n->height * 4 * q / ((1 + q) * (1 + q));
    if (!strcmp(n->shape, "arctan")) return n->height / (1 + a * a);
    if (!strcmp(n->shape, "fast_sigmoid")) return n->height / ((1 + a) * (1 + a));
    if (!strcmp(n->shape, "triangle")) return a < 1 ? n->height * (1 - a) : 0;
    if (!strcmp(n->shape, "exponential")) return n->height * exp(-a);
    if (!strcmp(n->shape, "gaussian")) return n->height * exp(-a * a);
    if (!strcmp(n->shape, "boxcar")) return a <= 1 ? n->height : 0;
    if (!strcmp(n->shape, "half_line")) return u + 1 / n->slope >= 0 ? n->height : 0;
    if (!strcmp(n->shape, "constant")) return n->height;
    fail("unknown surrogate", n->shape);
    return 0;
}

/* dv_t/dh_t */
static double slope_of_reset(const Neuron *n, double h, double s)
{
    double through = n->detach_reset ? 0 : psi(n, h - n->threshold);
    return n->hard ? (1 - s) + (n->reset_value - h) * through : 1 - n->threshold * through;
}

static void run(const char *folder)
{
    Neuron n = read_neuron(folder);
    Array current = load(folder, "inputs/current"), start = load(folder, "inputs/start");
    Array upstream = load(folder, "inputs/spike_adjoint");
    size_t T = current.shape[0], M = current.shape[1];
    Array h = make(2, T, M), s = make(2, T, M), by_current = make(2, T, M);
    Array v = make(1, 0, M), by_start = make(1, 0, M), rate = make(1, 0, M), jacobian = make(1, 0, M);
    Array loss = make(0, 0, 0);
    for (size_t m = 0; m < M; m++) {
        double trace = 1;
        v.at[m] = start.at[m];
        for (size_t t = 0; t < T; t++) {
            size_t i = t * M + m;
            h.at[i] = n.leak * v.at[m] + (n.hard ? (1 - n.leak) * n.reset_value : 0) + current.at[i];
            s.at[i] = n.above ? h.at[i] > n.threshold : h.at[i] >= n.threshold;
            v.at[m] = n.hard ? (1 - s.at[i]) * h.at[i] + s.at[i] * n.reset_value : h.at[i] - n.threshold * s.at[i];
            loss.at[0] += upstream.at[i] * s.at[i];
            rate.at[m] += s.at[i];
            jacobian.at[m] += psi(&n, h.at[i] - n.threshold) * trace;
            trace = 1 + n.leak * slope_of_reset(&n, h.at[i], s.at[i]) * trace;
        }
        rate.at[m] /= T;
        jacobian.at[m] /= T;
        for (size_t t = T; t-- > 0;) { /* by_start holds dL/dv_t on the way */
            size_t i = t * M + m;
            by_current.at[i] = upstream.at[i] * psi(&n, h.at[i] - n.threshold) +
                               by_start.at[m] * slope_of_reset(&n, h.at[i], s.at[i]);
            by_start.at[m] = n.leak * by_current.at[i];
        }
    }
    save(folder, "states/charged", &h);
    save(folder, "states/spikes", &s);
    save(folder, "states/potential", &v);
    save(folder, "loss", &loss);
    save(folder, "gradients/current", &by_current);
    save(folder, "gradients/start", &by_start);
    save(folder, "rate", &rate);
    save(folder, "rate_jacobian", &jacobian);
    Array *all[] = {&current, &start, &upstream, &h, &s, &by_current, &v, &by_start, &rate, &jacobian, &loss};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->at);
}

int main(int arguments, char **argument)
{
    char path[2048], name[1024];
    if (arguments != 2) fail("usage: spiking_neuron FOLDER", argument[0]);
    snprintf(path, sizeof path, "%s/cases.txt", argument[1]);
    FILE *cases = fopen(path, "r");
    if (!cases) fail("no such file", path);
    while (fgets(name, sizeof name, cases)) {
        name[strcspn(name, "\n")] = 0;
        snprintf(path, sizeof path, "%s/%s", argument[1], name);
        run(path);
    }
    fclose(cases);
    return 0;
}
