"""Prints what stands in nn/src/statistics.rs: an interval, a paired t-test, p-values after Holm."""

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

A = np.array([0.9771, 0.9759, 0.9768, 0.9780, 0.9749, 0.9763])
B = np.array([0.9761, 0.9763, 0.9752, 0.9771, 0.9751, 0.9748])


def interval(x):
    return stats.t.interval(0.95, len(x) - 1, loc=x.mean(), scale=stats.sem(x))


print("estimate", repr(float(A.mean())), repr(float(A.std(ddof=1))), *[repr(float(x)) for x in interval(A)])
print("paired", repr(float(stats.ttest_rel(A, B).pvalue)), *[repr(float(x)) for x in interval(A - B)])
print("holm", *[repr(float(x)) for x in multipletests([0.01, 0.04, 0.03, 0.005, 0.9], method="holm")[1]])
