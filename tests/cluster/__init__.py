"""moorage in a real cluster: the chart is installed, called through the ingress, upgraded under load and taken away again.

``python -m tests.cluster`` prepares the cluster and runs the tests here; a plain ``pytest`` does not collect them.
"""
