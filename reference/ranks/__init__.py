"""A process for every rank: started, watched, told what to do, ended."""
