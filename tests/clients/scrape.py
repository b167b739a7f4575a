"""Scrapes metrics again and again, and keeps in a file the largest value that each series had.

scrape.py URL FILE END   until END exists
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


def keep(largest, file):
    with open(file + ".new", "w") as new:
        for series, value in largest.items():
            print(series, value, file=new)
    os.rename(file + ".new", file)


def main(url, file, end):
    largest = {}
    while not os.path.exists(end):
        scrape(url, largest)
        keep(largest, file)
        time.sleep(PAUSE)
    scrape(url, largest)
    keep(largest, file)


main(*sys.argv[1:])
