"""The removable organization "Demo": invented agents whose calls the simulator answers.

`plan` says who calls when and with what (pure), `story` what the organization changes meanwhile, `traffic` turns a
planned call into a record by the data plane's own parts, `load` puts all of it through the spool.
"""
