"""Which of the faults did it?"""

from test_simulated import test_adder

from reactor.testing import Faults, shrink

print(shrink(test_adder, 5, Faults(short=0.3)))
