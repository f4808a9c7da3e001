"""What every engine must do, whatever carries its orders: written against `engines/base.py` alone.

An engine is added in `makers.py`. Commands are portable sh, or this Python; retries and reassignment are the loop's.
"""
