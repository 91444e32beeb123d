def write(folder, found):
    return str(folder)
