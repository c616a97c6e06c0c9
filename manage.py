#!/usr/bin/env python
"""Run KairosRoute's commands: `python manage.py help` lists them."""

import os
import sys

from django.core.management import execute_from_command_line

from config import env

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except env.InvalidSetting as error:
        sys.exit(f"A setting is wrong: {error}")
