"""An estimator with a planted handicap, in a module that workers can import."""

from __future__ import annotations

import os
import time


class SlowElsewhere:
    """Takes longer in every process but the one that it was made in.

    At home it takes some time too: a caller that had finished before its workers woke up would do their work as well.
    """

    def __init__(self, at_home_s, elsewhere_s):
        self.at_home_s = at_home_s
        self.elsewhere_s = elsewhere_s
        self.home = os.getpid()

    def predict(self, X):
        time.sleep(self.at_home_s if os.getpid() == self.home else self.elsewhere_s)
        return X[:, 0].copy()
