"""What voicespan costs, measured beside an untraced process and beside what others offer for the same.

    make bench                  everything, then docs/performance.md and its plots
    make bench ONLY=receive     one measurement, and the page again from what is kept of the others
    make bench QUICK=1          everything in a minute or two, to see that it works: the figures mean nothing

Each module that measures can be run by itself, `python -m benchmarks.receive [--quick]`. How they hand over
what they found is told in `benchmarks.results`; which there are stands in `benchmarks.__main__`.
"""
