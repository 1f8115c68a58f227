"""The run-time type checker of test runs: beartype, with an int where a float is asked for, as in
PEP 484.
"""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
