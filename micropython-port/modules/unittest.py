# Unit tests, in the terms of CPython's module of this name: what tests of MicroPython programs use of it.

import sys


class SkipTest(Exception):
    pass


class _Raises:
    def __init__(self, expected):
        self.expected = expected
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            raise AssertionError("%r was not raised" % self.expected)
        self.exception = value
        return issubclass(kind, self.expected)


class _SubTest:
    def __init__(self, result, name):
        self.result = result
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            return True
        if not issubclass(kind, Exception):
            return False
        self.result._add(self.name, value)
        return True


class TestCase:
    _result = None
    _name = ""

    def setUp(self):
        pass

    def tearDown(self):
        pass

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def addCleanup(self, function, *args, **kwargs):
        self._cleanups.append((function, args, kwargs))

    def doCleanups(self):
        while self._cleanups:
            function, args, kwargs = self._cleanups.pop()
            function(*args, **kwargs)

    def skipTest(self, reason):
        raise SkipTest(reason)

    def fail(self, msg=None):
        raise AssertionError(msg or "failed")

    def subTest(self, msg=None, **params):
        return _SubTest(self._result, "%s [%s] %r" % (self._name, msg, params))

    def _check(self, holds, text, values, msg):
        if not holds:
            raise AssertionError(msg or text % values)

    def assertEqual(self, a, b, msg=None):
        self._check(a == b, "%r is not equal to %r", (a, b), msg)

    def assertNotEqual(self, a, b, msg=None):
        self._check(a != b, "%r is equal to %r", (a, b), msg)

    def assertLess(self, a, b, msg=None):
        self._check(a < b, "%r is not less than %r", (a, b), msg)

    def assertLessEqual(self, a, b, msg=None):
        self._check(a <= b, "%r is greater than %r", (a, b), msg)

    def assertGreater(self, a, b, msg=None):
        self._check(a > b, "%r is not greater than %r", (a, b), msg)

    def assertGreaterEqual(self, a, b, msg=None):
        self._check(a >= b, "%r is less than %r", (a, b), msg)

    def assertAlmostEqual(self, a, b, places=None, msg=None, delta=None):
        self._check(self._is_near(a, b, places, delta), "%r is not almost %r", (a, b), msg)

    def assertNotAlmostEqual(self, a, b, places=None, msg=None, delta=None):
        self._check(not self._is_near(a, b, places, delta), "%r is almost %r", (a, b), msg)

    def _is_near(self, a, b, places, delta):
        if a == b:
            return True
        if delta is not None:
            return abs(a - b) <= delta
        return round(abs(a - b), 7 if places is None else places) == 0

    def assertIs(self, a, b, msg=None):
        self._check(a is b, "%r is not %r", (a, b), msg)

    def assertIsNot(self, a, b, msg=None):
        self._check(a is not b, "%r is %r", (a, b), msg)

    def assertIsNone(self, a, msg=None):
        self._check(a is None, "%r is not None", (a,), msg)

    def assertIsNotNone(self, a, msg=None):
        self._check(a is not None, "%r is None", (a,), msg)

    def assertTrue(self, a, msg=None):
        self._check(a, "%r is not true", (a,), msg)

    def assertFalse(self, a, msg=None):
        self._check(not a, "%r is not false", (a,), msg)

    def assertIn(self, a, b, msg=None):
        self._check(a in b, "%r is not in %r", (a, b), msg)

    def assertNotIn(self, a, b, msg=None):
        self._check(a not in b, "%r is in %r", (a, b), msg)

    def assertIsInstance(self, a, kind, msg=None):
        self._check(isinstance(a, kind), "%r is no %r", (a, kind), msg)

    def assertRaises(self, kind, function=None, *args, **kwargs):
        context = _Raises(kind)
        if function is None:
            return context
        with context:
            function(*args, **kwargs)


def skip(reason):
    def decorate(function):
        def skipped(*args):
            raise SkipTest(reason)

        return skipped

    return decorate


def skipIf(condition, reason):
    return skip(reason) if condition else lambda function: function


def skipUnless(condition, reason):
    return skipIf(not condition, reason)


def expectedFailure(function):
    def run(self):
        try:
            function(self)
        except SkipTest:
            raise
        except Exception:
            return
        raise AssertionError("unexpected success")

    return run


class TestResult:
    def __init__(self):
        self.testsRun = 0
        self.errors = []
        self.failures = []
        self.skipped = []

    def wasSuccessful(self):
        return not self.errors and not self.failures

    # What became of a test, or of a part of it. Returns the word for it.
    def _add(self, name, exception):
        if isinstance(exception, SkipTest):
            self.skipped.append((name, exception))
            return "skipped: %s" % exception
        if isinstance(exception, AssertionError):
            self.failures.append((name, exception))
            return "FAIL"
        self.errors.append((name, exception))
        return "ERROR"

    def printErrors(self):
        for word, problems in (("ERROR", self.errors), ("FAIL", self.failures)):
            for name, exception in problems:
                print("%s: %s" % (word, name))
                sys.print_exception(exception)


class TestSuite:
    def __init__(self, name=""):
        self.name = name
        self._cases = []

    def addTest(self, case):
        self._cases.append(case)

    def run(self, result):
        for case in self._cases:
            _run_case(case, result)
        return result


def _run_case(case, result):
    kind = case if isinstance(case, type) else type(case)
    kind.setUpClass()
    try:
        for attribute in dir(kind):
            if attribute.startswith("test"):
                _run_test(kind, attribute, result)
    finally:
        kind.tearDownClass()


def _run_test(kind, attribute, result):
    test = kind()
    test._cleanups = []
    test._result = result
    test._name = "%s (%s)" % (attribute, kind.__name__)
    result.testsRun += 1
    print(test._name, end=" ... ")
    problems = len(result.errors) + len(result.failures)
    word = "ok"
    try:
        test.setUp()
        try:
            getattr(test, attribute)()
        finally:
            test.tearDown()
            test.doCleanups()
    except Exception as exception:
        word = result._add(test._name, exception)
    if word == "ok" and len(result.errors) + len(result.failures) > problems:
        word = "FAIL"
    print(word)


class TestRunner:
    def run(self, suite):
        result = suite.run(TestResult())
        result.printErrors()
        print("-" * 70)
        print("Ran %d tests\n" % result.testsRun)
        failed, skipped = len(result.errors) + len(result.failures), len(result.skipped)
        if failed:
            print("FAILED (failures=%d, errors=%d)" % (len(result.failures), len(result.errors)))
        else:
            print("OK" + (" (skipped=%d)" % skipped if skipped else ""))
        return result


TextTestRunner = TestRunner


def main(module="__main__", testRunner=None):
    if isinstance(module, str):
        module = __import__(module)
    suite = TestSuite(module.__name__)
    for name in dir(module):
        case = getattr(module, name)
        if isinstance(case, type) and issubclass(case, TestCase) and case is not TestCase:
            suite.addTest(case)
    return (testRunner or TestRunner()).run(suite)
