"""What `tenuto demo` does: a review of a source tree, written as a report that a judge has accepted.

The analysis is plain functions from values to values, in the order in which a review uses them:

    scan      which files there are, and which of them are source
    parcels   the source files divided into parcels of work of about equal size
    reading   one parcel read: lines, functions, documentation, imports; and all parcels joined
    history   what git says about the tree
    measure   everything above joined into the metrics of a review
    report    the numbers as Markdown
    judge     whether a report is acceptable, and if not, why

None of them knows that it runs inside a durable task; only `agents` and `demo` do. Nothing outside this package imports
it, except the command line.
"""
