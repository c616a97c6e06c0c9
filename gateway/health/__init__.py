"""How endpoints do at the moment, and the order in which a call tries them.

    window      one endpoint: what happened in the last five minutes, its weight, its circuit breaker     [pure]
    board       all endpoints and the credentials they are reached with; the order of a call's attempts   [pure]
    sessions    which endpoint holds the prompt cache of a conversation                                   [pure]
    sharing     what other processes saw, through Redis
    journal     changes of state and the picture of the moment, for the provider health page
    upkeep      the task behind the path of calls that shares, forgets and writes

`docs/explanation/fallback.md` explains the rules. Whether a call goes on after a failure is `gateway.fallback`.
"""
