/* An interpreter of our own with the binding, and what reads a document through it. */
#include <Python.h>

#include "driver.h"

static const char prepared[] = "import io, libxml2\n"
                               "libxml2.registerErrorHandler(lambda *a: None, None)\n"
                               "class Input:\n"
                               "    def __init__(self, text):\n"
                               "        self.of = io.StringIO(text)\n"
                               "        self.read = self.io_read = lambda n=-1: self.of.read(n)\n"
                               "        self.close = self.io_close = lambda: self.of.close()\n"
                               "def round(size, word='text'):\n"
                               "    text = '<r>' + '<e a=\"1\">%s</e>' % word * size + '</r>'\n"
                               "    buffer = libxml2.inputBuffer(Input(text))\n"
                               "    reader = buffer.newTextReader('u')\n"
                               "    seen = 0\n"
                               "    while reader.Read() == 1:\n"
                               "        seen += reader.NodeType() == 1\n"
                               "    doc = libxml2.parseDoc('<a><b c=\"d\"/></a>')\n"
                               "    found = doc.xpathEval('//b/@c')[0].content\n"
                               "    doc.freeDoc()\n"
                               "    return seen == size + 1 and found == 'd'\n";

static PyObject *names;

static int run(const char *text, int start) {
    PyObject *result = PyRun_String(text, start, names, names);
    int good = result && PyObject_IsTrue(result) == (start == Py_eval_input);
    Py_XDECREF(result);
    return good;
}

void setup(void) {
    Py_InitializeEx(0);
    names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    if (!run(prepared, Py_file_input)) driver_fail("the module can't be used");
    PyEval_SaveThread();
}

/* Whether this many elements with this word are read as they were written. */
static int reads(int size, const char *word) {
    char call[80];
    snprintf(call, sizeof call, "round(%d, '%s')", size, word);
    PyGILState_STATE state = PyGILState_Ensure();
    int good = run(call, Py_eval_input);
    PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
