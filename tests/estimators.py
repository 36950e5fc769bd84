"""Estimators that misbehave, in a module that workers can import."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from threadpoolctl import ThreadpoolController


class Named(Exception):
    """Cannot be made again from its arguments: the constructor takes two, `args` holds one."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Rows:
    """Returns the first column. The other classes do something where it is -1; a batch with a -2 takes its time."""

    def predict(self, X):
        if np.any(X[:, 0] == -2):
            time.sleep(0.3)
        if np.any(X[:, 0] == -1):
            self.act()
        return X[:, 0].copy()

    def act(self):
        pass


class Fitted(Rows):
    """What the command line takes for an estimator."""

    def fit(self, X, y):
        return self


class Raises(Rows):
    def act(self):
        raise ZeroDivisionError("a marked row")


class RaisesNamed(Rows):
    def act(self):
        raise Named("this", "that")


class NamedOfSystem(OSError):
    """Like `Named`, but of a kind that keeps nothing that its constructor was not given."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class RaisesNamedOfSystem(Rows):
    def act(self):
        raise NamedOfSystem("this", "that")


class RaisesLocal(Rows):
    def act(self):
        class Local(Exception):
            pass

        raise Local("has no name elsewhere")


class RaisesLock(Rows):
    def act(self):
        raise ValueError(threading.Lock())


class Dies(Rows):
    """Ends the process that computes a marked row, unless it is the one that the estimator was made in."""

    def __init__(self):
        self.home = os.getpid()

    def act(self):
        if os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)


class Misbehaves(Rows):
    """Does what the mark in the first column says: raises one error or another, or dies."""

    def __init__(self):
        self.home = os.getpid()

    def predict(self, X):
        for mark, act in {-1: Raises.act, -3: RaisesNamed.act, -4: RaisesLocal.act, -5: Dies.act}.items():
            if np.any(X[:, 0] == mark):
                act(self)
        return X[:, 0].copy()

    def transform(self, X):
        return TellsThreads().predict(X)


class Stuck(Dies):
    def act(self):
        if os.getpid() != self.home:
            time.sleep(60)


class StuckElsewhere(Dies):
    def predict(self, X):
        time.sleep(0.05)  # others have begun by then
        return super().predict(X)

    def act(self):
        if os.getpid() == self.home:
            raise ZeroDivisionError("a marked row")
        time.sleep(3)


class Slow(Rows):
    def __init__(self, seconds=0.01):
        self.seconds = seconds

    def predict(self, X):
        time.sleep(self.seconds)
        return super().predict(X)


class SlowToTransform(Rows):
    def transform(self, X):
        time.sleep(0.02)
        return X.copy()


class RaisesOrIsSlow(Slow):
    def predict(self, X):
        if np.any(X[:, 0] == -1):
            raise ZeroDivisionError("a marked row")
        return super().predict(X)


class SlowAtFirst(Rows):
    """Is slow the first time that it may use several threads, like an estimator that starts them."""

    def __init__(self):
        self.n_calls = 0
        self.pools = ThreadpoolController().lib_controllers

    def predict(self, X):
        if max(pool.num_threads for pool in self.pools) > 1:
            self.n_calls += 1
            if self.n_calls == 1:
                time.sleep(0.2)
        return super().predict(X)


class TellsBatches(Rows):
    """Counts the batches that this copy of it computes, by their number of rows."""

    def __init__(self):
        self.batches = Counter()

    def predict(self, X):
        self.batches[len(X)] += 1
        return super().predict(X)


class TellsProcess(Slow):
    """Its answer depends on who computes it, as no answer may."""

    def __init__(self, seconds=0.0):
        super().__init__(seconds)

    def predict(self, X):
        time.sleep(self.seconds)
        return np.full(len(X), os.getpid())


class TellsThreads(Rows):
    """Tells how many threads the libraries and joblib would use."""

    def predict(self, X):
        import joblib
        from threadpoolctl import threadpool_info

        time.sleep(0.1)
        most = max((pool["num_threads"] for pool in threadpool_info()), default=1)
        return np.tile([os.getpid(), most, joblib.effective_n_jobs(2)], (len(X), 1))


class FailsToLoad(Rows):
    def __init__(self):
        self.home = os.getpid()

    def __setstate__(self, state):
        self.__dict__.update(state)
        if os.getpid() != self.home:
            raise RuntimeError("this estimator loads in its own process only")


class Words(Rows):
    """Text whose width differs from batch to batch."""

    def predict(self, X):
        return np.array(["x" * (1 + int(value) % 7) for value in X[:, 0]])


class Objects(Rows):
    def predict(self, X):
        return np.array([{"value": float(value)} for value in X[:, 0]], dtype=object)


class ListOfArrays(Rows):
    def predict_proba(self, X):
        return [X[:, :2].copy(), X[:, :3].copy()]


class TupleOfArrays(Rows):
    def predict(self, X):
        return X[:, 0].copy(), X[:, :2].copy()


class SparseRows(Rows):
    def transform(self, X):
        from scipy import sparse

        return sparse.csr_matrix(X)


class Identity:
    """Returns its rows themselves, not a copy."""

    def transform(self, X):
        return X


class SlowElsewhere(Rows):
    """Takes `seconds` for a batch, but `seconds_elsewhere` outside the process that it was made in."""

    def __init__(self, seconds, seconds_elsewhere):
        self.home = os.getpid()
        self.seconds = seconds
        self.seconds_elsewhere = seconds_elsewhere

    def predict(self, X):
        time.sleep(self.seconds if os.getpid() == self.home else self.seconds_elsewhere)
        return super().predict(X)


class RaisesHereSlowElsewhere(SlowElsewhere):
    act = Raises.act


class FailsElsewhereWhenTold(Rows):
    """Raises in other processes, but only after the process that it was made in has computed `n_batches`."""

    def __init__(self, path, n_batches):
        self.home = os.getpid()
        self.path = path
        self.n_batches = n_batches
        self.n_here = 0

    def predict(self, X):
        if os.getpid() != self.home:
            while not self.path.exists():
                time.sleep(0.001)
            raise ZeroDivisionError("as it was told")
        self.n_here += 1
        if self.n_here >= self.n_batches:
            self.path.touch()
            time.sleep(0.05)
        return X[:, 0].copy()


class SlowAsWritten(SlowElsewhere):
    """Takes as long in other processes as a file says, and in its own process one thread waits for the other."""

    lock = threading.Lock()

    def predict(self, X):
        if os.getpid() == self.home:
            with self.lock:
                return super().predict(X)
        time.sleep(float(self.seconds_elsewhere.read_text()))
        return X[:, 0].copy()


class DozesOffElsewhere(SlowElsewhere):
    """Takes longer for a batch if 10 ms have gone by since the last one.

    Only in the main thread of its own process is it always awake.
    """

    last_s = threading.local()

    def predict(self, X):
        at_home = os.getpid() == self.home and threading.current_thread() is threading.main_thread()
        awake = time.monotonic() - getattr(self.last_s, "value", 0.0) < 0.01
        time.sleep(self.seconds if at_home or awake else self.seconds_elsewhere)
        self.last_s.value = time.monotonic()
        return X[:, 0].copy()


class ChangesRows(Rows):
    """Doubles its rows in place. The first batch in another process then kills that process."""

    def __init__(self, path):
        self.home = os.getpid()
        self.path = path

    def predict(self, X):
        X *= 2
        if os.getpid() != self.home and not self.path.exists():
            self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return X[:, 0].copy()


class ClipsWhatIsNegative(Rows):
    """Changes its rows in place, unless there is nothing to change."""

    def predict(self, X):
        if (X < 0).any():
            X[X < 0] = 0
        return X[:, 0].copy()


class TellsSurroundings(Rows):
    """Tells a variable of the environment, and the CPUs that the process may use."""

    def predict(self, X):
        return np.full(len(X), f"{os.environ.get('INFBENCH_TEST', 'none')} {sorted(os.sched_getaffinity(0))}")


class Overflows(Rows):
    """Overflows, which numpy ignores, warns of or raises, as its settings say."""

    def predict(self, X):
        return np.exp(X[:, 0] + 1_000.0)


class Column(Slow):
    """Takes arrays and data frames."""

    def predict(self, X):
        return super().predict(np.asarray(X))


class MisbehavesLate(Misbehaves):
    """Is slow in the process that it was made in, and only there."""

    def predict(self, X):
        if os.getpid() == self.home:
            time.sleep(0.01)
        return super().predict(X)


class NotOfScikitLearn(Rows):
    """Has scikit-learn's methods by name, but they do not do what scikit-learn expects."""

    def fit(self, X, y=None):
        return self

    def get_params(self, **_):
        raise AttributeError("it keeps no parameters")


class WideWithoutRoom(Dies):
    """Answers a marked row with more than the process that computes it has room for."""

    def predict(self, X):
        if os.getpid() == self.home or not np.any(X[:, 0] == -1):
            return X[:, :1].copy()
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, most))
        return np.repeat(X[:, :1], 10_000, axis=1)


class CannotBePickled(Rows):
    def __reduce__(self):
        raise TypeError("not this one")


class AlarmsWhenPickled(Rows):
    def __getstate__(self):
        signal.raise_signal(signal.SIGALRM)
        return {}


class AlarmsWhenLoaded(Rows):
    """Sends SIGALRM to the process that it was made in as it is loaded, and takes longer than anybody waits."""

    def __init__(self):
        self.home = os.getpid()

    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        os.kill(state["home"], signal.SIGALRM)
        time.sleep(60)


class DyingTree:
    """A tree of a forest. A row of large numbers ends the process that computes it, unless the tree was made there."""

    def __init__(self, tree):
        self.home = os.getpid()
        self.tree = tree

    def predict_proba(self, X, check_input):
        if os.getpid() != self.home and X.max() > 1e6:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.tree.predict_proba(X, check_input)


class TellsWhatIsLoaded(Rows):
    """Tells whether scikit-learn was there when this was loaded. Has a parameter, as estimators of scikit-learn do."""

    def __init__(self, part):
        self.part = part
        self.was_loaded = True

    def get_params(self, **_):
        return {"part": self.part}

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.was_loaded = "sklearn.dummy" in sys.modules

    def predict(self, X):
        return np.full(len(X), self.was_loaded)


class TellsSklearn(Rows):
    """Tells whether scikit-learn is loaded where this computes."""

    def predict(self, X):
        return np.full(len(X), "sklearn" in sys.modules)


class AttachesMemory(Rows):
    """Opens named shared memory where it is loaded."""

    def __init__(self, name):
        self.name = name

    def __setstate__(self, state):
        self.__dict__ |= state
        self.memory = SharedMemory(self.name)


class LeavesHoles(Rows):
    """Allocates 50 MB as it is loaded, and frees `n_freed` blocks of memory in between."""

    def __init__(self, n_freed):
        self.n_freed = n_freed

    def __setstate__(self, state):
        self.__dict__ |= state
        self.kept, freed = [], []
        for number in range(500):
            self.kept.append(bytearray(b"x") * 100_000)  # too small for a mapping of its own
            if number < self.n_freed:
                freed.append(bytearray(b"x") * 100_000)
