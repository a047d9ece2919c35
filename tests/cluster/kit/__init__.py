"""A real one-node Kubernetes on this machine, as root, without Docker and without systemd.

``cluster up`` builds the upstream components once from their Go modules and runs them as plain processes: etcd, kube-apiserver,
kube-controller-manager, kube-scheduler, containerd with runc, kubelet, kube-proxy, CoreDNS, metrics-server and Traefik (the ingress
controller, class ``traefik``). Nothing is mocked: pods are real containers, Services go through kube-proxy's iptables rules, an HPA
reads metrics-server.

It is a program beside the tests, not a part of them: they know a kubeconfig and an address, and run as well on any other cluster.
It uses the standard library alone, so that it starts before anything is installed.
"""
