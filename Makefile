# A door in front of CMake and the scripts in tools/, which install what is missing and say so first.
.PHONY: all demo miniature paper ablations test bench clean
all:
	@tools/build.sh
demo: all
	@tools/demo.sh
miniature: all
	@tools/setup.sh train && build/msa train examples/miniature.json \
		--set data.text="$$(ls -d /usr/share/vim/vim[0-9]*/doc | tail -n 1)" --resume
paper ablations: all
	@tools/setup.sh experiment && python3 -B tools/experiment examples/paper/$@.json
test:
	@tools/test.sh
bench: all
	@tools/bench.sh
clean:
	rm -rf build
