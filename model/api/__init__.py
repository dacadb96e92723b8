"""The functions of `import model`: each takes texts, files, names or objects, and gives a result that shows itself."""
