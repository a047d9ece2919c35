"""Who may talk to the service, and from where: keys, principals, challenges, Host, Origin and CORS.

Everything here is synchronous and answers from memory. Leaves the HTTP exchange to `edge`.
"""
