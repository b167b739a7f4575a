"""Scrapes metrics again and again, and prints the largest value that each series had.

scrape.py URL FILE   until FILE exists
"""

import os
import sys
import time
import urllib.request

PAUSE = 0.03


def scrape(url, largest):
    with urllib.request.urlopen(url, timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith("#"):
                continue
            series, value = line.rsplit(" ", 1)
            largest[series] = max(float(value), largest.get(series, 0.0))


def main(url, file):
    largest = {}
    while not os.path.exists(file):
        scrape(url, largest)
        time.sleep(PAUSE)
    scrape(url, largest)
    for series, value in largest.items():
        print(series, value)


main(*sys.argv[1:])
