/*
 * Python's door to the core: converts arguments, releases the interpreter lock, converts results.
 * Uses the limited API only, so that one wheel serves every Python from 3.11 on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "naht_core.h"

#include <errno.h>
#include <stdlib.h>

static const char *const outcome_names[] = {
    "done", "busy", "mismatch", "unstoppable", "gone", "refused", "failed", "unsuitable", "crashed",
};

/* Owned buffers of one call; freed in one place. */
struct bytes_list {
    PyObject *sequence;
    struct naht_bytes *items;
    size_t count;
};

static void free_bytes_list(struct bytes_list *list)
{
    free(list->items);
    Py_XDECREF(list->sequence);
}

/* The tuple keeps every bytes object alive while the core looks at its content. */
static int get_bytes_list(PyObject *object, struct bytes_list *list)
{
    list->sequence = PySequence_Tuple(object);
    if (!list->sequence)
        return -1;
    Py_ssize_t count = PyTuple_Size(list->sequence);
    list->items = calloc((size_t)count + 1, sizeof *list->items);
    if (!list->items) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        unsigned long long address;
        PyObject *data;
        char *content;
        Py_ssize_t size;
        if (!PyArg_ParseTuple(PyTuple_GetItem(list->sequence, i), "KS", &address, &data)
            || PyBytes_AsStringAndSize(data, &content, &size))
            return -1;
        list->items[i] = (struct naht_bytes){address, (const uint8_t *)content, (size_t)size};
    }
    list->count = (size_t)count;
    return 0;
}

struct range_list {
    struct naht_range *items;
    size_t count;
};

static int get_range_list(PyObject *object, struct range_list *list)
{
    PyObject *sequence = PySequence_Tuple(object);
    Py_ssize_t count = sequence ? PyTuple_Size(sequence) : 0;
    list->items = sequence ? calloc((size_t)count + 1, sizeof *list->items) : NULL;
    for (Py_ssize_t i = 0; list->items && i < count; i++) {
        unsigned long long start, end;
        if (!PyArg_ParseTuple(PyTuple_GetItem(sequence, i), "KK", &start, &end)) {
            Py_DECREF(sequence);
            return -1;
        }
        list->items[i] = (struct naht_range){start, end};
    }
    list->count = (size_t)count;
    if (sequence && !list->items)
        PyErr_NoMemory();
    Py_XDECREF(sequence);
    return list->items ? 0 : -1;
}

static int get_words(PyObject *object, uint64_t **words, size_t *count)
{
    PyObject *sequence = PySequence_Tuple(object);
    Py_ssize_t size = sequence ? PyTuple_Size(sequence) : 0;
    *words = sequence ? calloc((size_t)size + 1, sizeof **words) : NULL;
    *count = (size_t)size;
    for (Py_ssize_t i = 0; *words && i < size; i++) {
        (*words)[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(sequence, i));
        if (PyErr_Occurred()) {
            Py_DECREF(sequence);
            return -1;
        }
    }
    if (sequence && !*words)
        PyErr_NoMemory();
    Py_XDECREF(sequence);
    return *words ? 0 : -1;
}

static PyObject *suspect_list(const struct naht_result *r)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < r->suspect_count; i++) {
        const struct naht_suspect *s = &r->suspects[i];
        const uint64_t *g = s->registers;
        PyObject *item = Py_BuildValue("(i(KKKKKKKK)Ky#)", (int)s->thread, g[0], g[1], g[2], g[3],
            g[4], g[5], g[6], g[7], s->start, s->stack ? (char *)s->stack : "",
            (Py_ssize_t)(s->stack ? s->size : 0));
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *commit_result(const struct naht_result *r)
{
    PyObject *suspects = suspect_list(r);
    if (!suspects)
        return NULL;
    return Py_BuildValue("{s:s,s:i,s:K,s:i,s:s,s:K,s:K,s:K,s:N}", "outcome",
        outcome_names[r->outcome],
        "thread", (int)r->thread, "address", (unsigned long long)r->address, "error", r->error,
        "step", r->step ? r->step : "", "threads", (unsigned long long)r->threads, "pause_ns",
        (unsigned long long)r->pause_ns, "stacks_bytes", (unsigned long long)r->stack_bytes,
        "suspects", suspects);
}

struct certificate_list {
    struct naht_certificate *items;
    size_t count;
};

static void free_certificates(struct certificate_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((void *)list->items[i].words);
    free(list->items);
}

static int get_certificate(PyObject *item, struct naht_certificate *certificate)
{
    PyObject *registers, *words;
    uint64_t *list = NULL;
    size_t count;
    int thread;
    if (!PyArg_ParseTuple(item, "iOIO", &thread, &registers, &certificate->mask, &words)
        || get_words(registers, &list, &count))
        return -1;
    int error = count != NAHT_FRAME_REGISTERS;
    for (size_t i = 0; !error && i < count; i++)
        certificate->registers[i] = list[i];
    free(list);
    list = NULL;
    if (error || get_words(words, &list, &count) || count % 2) {
        free(list);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a certificate has 8 registers, a mask and pairs of words");
        return -1;
    }
    certificate->thread = thread;
    certificate->words = list;
    certificate->word_count = count / 2;
    return 0;
}

static int get_certificates(PyObject *object, struct certificate_list *list)
{
    PyObject *sequence = PySequence_Tuple(object);
    Py_ssize_t count = sequence ? PyTuple_Size(sequence) : 0;
    list->items = sequence ? calloc((size_t)count + 1, sizeof *list->items) : NULL;
    int error = list->items ? 0 : -1;
    for (; !error && (Py_ssize_t)list->count < count; list->count += !error)
        error = get_certificate(
            PyTuple_GetItem(sequence, (Py_ssize_t)list->count), &list->items[list->count]);
    if (sequence && !list->items)
        PyErr_NoMemory();
    Py_XDECREF(sequence);
    return error;
}

struct commit_arguments {
    struct bytes_list expected, writes;
    struct range_list quiet, still, unreferenced;
    uint64_t *restorers;
    size_t restorer_count;
    struct certificate_list certificates;
};

static void free_commit_arguments(struct commit_arguments *a)
{
    free_bytes_list(&a->expected);
    free_bytes_list(&a->writes);
    free(a->quiet.items);
    free(a->still.items);
    free(a->unreferenced.items);
    free(a->restorers);
    free_certificates(&a->certificates);
}

static PyObject *run_commit(struct naht_commit *plan, const struct commit_arguments *a)
{
    struct naht_result result;
    plan->expected = a->expected.items, plan->expected_count = a->expected.count;
    plan->writes = a->writes.items, plan->write_count = a->writes.count;
    plan->quiet = a->quiet.items, plan->quiet_count = a->quiet.count;
    plan->still = a->still.items, plan->still_count = a->still.count;
    plan->unreferenced = a->unreferenced.items, plan->unreferenced_count = a->unreferenced.count;
    plan->restorers = a->restorers, plan->restorer_count = a->restorer_count;
    plan->certificates = a->certificates.items, plan->certificate_count = a->certificates.count;
    Py_BEGIN_ALLOW_THREADS
    naht_commit(plan, &result);
    Py_END_ALLOW_THREADS
    PyObject *answer = commit_result(&result);
    naht_free_suspects(&result);
    return answer;
}

static PyObject *py_commit(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"pid", "start_time", "expected", "writes", "quiet", "still",
        "unreferenced", "restorers", "certificates", "main_stack_end", "stop_timeout_ns", "scan_limit", NULL};
    PyObject *expected, *writes, *quiet, *still, *unreferenced, *restorers, *answer = NULL;
    PyObject *certificates;
    unsigned long long start_time, stack_end, timeout, limit;
    int pid;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iKOOOOOOOKKK", names, &pid, &start_time,
            &expected, &writes, &quiet, &still, &unreferenced, &restorers, &certificates, &stack_end, &timeout,
            &limit))
        return NULL;
    struct naht_commit plan = {.pid = pid, .start_time = start_time, .main_stack_end = stack_end,
        .stop_timeout_ns = timeout, .scan_limit = limit};
    struct commit_arguments a = {0};
    if (!get_bytes_list(expected, &a.expected) && !get_bytes_list(writes, &a.writes)
        && !get_range_list(quiet, &a.quiet) && !get_range_list(still, &a.still)
        && !get_range_list(unreferenced, &a.unreferenced)
        && !get_words(restorers, &a.restorers, &a.restorer_count)
        && !get_certificates(certificates, &a.certificates))
        answer = run_commit(&plan, &a);
    free_commit_arguments(&a);
    return answer;
}

static int get_call(PyObject *item, struct naht_call *call)
{
    const char *kind;
    unsigned long long target;
    PyObject *arguments;
    if (!PyArg_ParseTuple(item, "sKO", &kind, &target, &arguments))
        return -1;
    uint64_t *words;
    size_t count;
    int error = get_words(arguments, &words, &count);
    if (!error && (count > 6 || (kind[0] != 's' && kind[0] != 'f'))) {
        PyErr_SetString(PyExc_ValueError, "a call is (\"syscall\" or \"function\", target, args)");
        error = -1;
    }
    call->kind = kind[0] == 's' ? NAHT_SYSCALL : NAHT_FUNCTION;
    call->target = target;
    for (size_t i = 0; !error && i < count; i++)
        call->arguments[i] = words[i];
    free(words);
    return error;
}

static int get_calls(PyObject *object, struct naht_calls *calls)
{
    PyObject *sequence = PySequence_Tuple(object);
    Py_ssize_t count = sequence ? PyTuple_Size(sequence) : 0;
    calls->calls = sequence ? calloc((size_t)count + 1, sizeof *calls->calls) : NULL;
    calls->call_count = (size_t)count;
    int error = calls->calls ? 0 : -1;
    for (Py_ssize_t i = 0; !error && i < count; i++)
        error = get_call(PyTuple_GetItem(sequence, i), &calls->calls[i]);
    if (sequence && !calls->calls)
        PyErr_NoMemory();
    Py_XDECREF(sequence);
    return error;
}

static int get_chain(PyObject *object, struct naht_calls *calls)
{
    uint64_t *words;
    size_t count;
    int error = get_words(object, &words, &count);
    if (!error && (count < 1 || count > NAHT_MAX_CHAIN)) {
        PyErr_SetString(PyExc_ValueError, "a return chain has 1 to 4 words");
        error = -1;
    }
    calls->chain_count = error ? 0 : count;
    for (size_t i = 0; !error && i < count; i++)
        calls->chain[i] = words[i];
    free(words);
    return error;
}

static PyObject *call_result(const struct naht_calls *calls, const struct naht_result *r)
{
    PyObject *results = PyList_New(0);
    for (size_t i = 0; results && i < calls->finished; i++) {
        PyObject *value = PyLong_FromLongLong(calls->calls[i].result);
        if (!value || PyList_Append(results, value))
            Py_CLEAR(results);
        Py_XDECREF(value);
    }
    if (!results)
        return NULL;
    return Py_BuildValue("{s:s,s:N,s:i,s:s,s:K}", "outcome", outcome_names[r->outcome], "results",
        results, "error", r->error, "step", r->step ? r->step : "", "pause_ns",
        (unsigned long long)r->pause_ns);
}

static PyObject *py_call(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"pid", "thread", "start_time", "syscall_return", "signal_return",
        "calls", "expected", "stack_floor", "stack_end", "timeout_ns", NULL};
    PyObject *chain, *list, *expected, *answer = NULL;
    struct bytes_list bytes = {0};
    unsigned long long start_time, syscall_return, floor, end, timeout;
    int pid, thread;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iiKKOOOKKK", names, &pid, &thread,
            &start_time, &syscall_return, &chain, &list, &expected, &floor, &end, &timeout))
        return NULL;
    struct naht_calls calls = {.pid = pid, .thread = thread, .start_time = start_time,
        .syscall_return = syscall_return, .stack_floor = floor, .stack_end = end, .timeout_ns = timeout};
    struct naht_result result;
    if (!get_chain(chain, &calls) && !get_calls(list, &calls)
        && !get_bytes_list(expected, &bytes)) {
        calls.expected = bytes.items, calls.expected_count = bytes.count;
        Py_BEGIN_ALLOW_THREADS
        naht_call(&calls, &result);
        Py_END_ALLOW_THREADS
        answer = call_result(&calls, &result);
    }
    free(calls.calls);
    free_bytes_list(&bytes);
    return answer;
}

static PyObject *py_write(PyObject *module, PyObject *args)
{
    int memory;
    unsigned long long address;
    PyObject *data;
    char *content;
    Py_ssize_t size;
    (void)module;
    if (!PyArg_ParseTuple(args, "iKS", &memory, &address, &data)
        || PyBytes_AsStringAndSize(data, &content, &size))
        return NULL;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = naht_write(memory, address, content, (size_t)size);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

static PyObject *py_seccomp_filters(PyObject *module, PyObject *args)
{
    int pid, thread;
    unsigned char program[4096 * 8];
    PyObject *filters = PyList_New(0);
    (void)module;
    if (!PyArg_ParseTuple(args, "ii", &pid, &thread))
        Py_CLEAR(filters);
    for (unsigned index = 0; filters && index < 64; index++) {
        long count;
        Py_BEGIN_ALLOW_THREADS
        count = naht_seccomp_filter(pid, thread, index, program, sizeof program / 8);
        Py_END_ALLOW_THREADS
        if (count == 0)
            break;
        if (count < 0) {
            errno = (int)-count;
            PyErr_SetFromErrno(PyExc_OSError);
            Py_CLEAR(filters);
            break;
        }
        PyObject *bytes = PyBytes_FromStringAndSize((char *)program, count * 8);
        if (!bytes || PyList_Append(filters, bytes))
            Py_CLEAR(filters);
        Py_XDECREF(bytes);
    }
    return filters;
}

static PyMethodDef methods[] = {
    {"commit", (PyCFunction)(void (*)(void))py_commit, METH_VARARGS | METH_KEYWORDS, NULL},
    {"call", (PyCFunction)(void (*)(void))py_call, METH_VARARGS | METH_KEYWORDS, NULL},
    {"write", py_write, METH_VARARGS, NULL},
    {"seccomp_filters", py_seccomp_filters, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "What happens while a thread of a target is stopped.", 0,
    methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModule_Create(&definition);
}
