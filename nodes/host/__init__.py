"""The host adapters: the only folder that imports comfy, folder_paths or server.

How the host behaves that makes them necessary: it runs every node in ``torch.inference_mode()``,
under which nothing has a gradient; its own modules must be neither moved nor called outside that
mode; and what is loaded must be counted by it.
"""
